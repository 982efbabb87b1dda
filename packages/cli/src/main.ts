/**
 * The `authn` command. A token that lies ready is printed without loading anything; everything else is in `Authn`.
 *
 * @since 0.1.0
 */
import * as FastToken from "./FastToken.ts"

if (!FastToken.print(process.argv.slice(2))) void import("./Authn.ts").then(({ main }) => main())
