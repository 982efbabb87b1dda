/**
 * The `authn` command. A token that lies ready is printed without loading anything; everything else is in `Process`.
 */
import * as ReadyToken from "./ReadyToken.ts"

if (!ReadyToken.print(process.argv.slice(2))) void import("./Process.ts").then(({ main }) => main())
