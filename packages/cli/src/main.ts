/**
 * The `authn` command. A token that lies ready is printed without loading anything; everything else is in `Process`.
 */
import * as CompileCache from "./CompileCache.ts"
import * as ReadyToken from "./ReadyToken.ts"

if (!ReadyToken.print(process.argv.slice(2))) {
  // Effect is what is not loaded yet.
  // oxlint-disable-next-line effecttsgo/process-env
  CompileCache.enable(process.env, process.platform)
  void import("./Process.ts").then(({ main }) => main())
}
