// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as ClientCertificate from "./ClientCertificate.ts"

/**
 * @since 0.1.0
 */
export * as FileSessionLock from "./FileSessionLock.ts"

/**
 * @since 0.1.0
 */
export * as FileTokenStorage from "./FileTokenStorage.ts"

/**
 * @since 0.1.0
 */
export * as NodeAuth from "./NodeAuth.ts"

/**
 * @since 0.1.0
 */
export * as NodeBackgroundSleep from "./NodeBackgroundSleep.ts"

/**
 * @since 0.1.0
 */
export * as NodeBrowser from "./NodeBrowser.ts"

/**
 * @since 0.1.0
 */
export * as NodeCallbackServer from "./NodeCallbackServer.ts"

/**
 * @since 0.1.0
 */
export * as NodeJwtCodec from "./NodeJwtCodec.ts"

/**
 * @since 0.1.0
 */
export * as NodeLogin from "./NodeLogin.ts"

/**
 * @since 0.1.0
 */
export * as NodeSqlite from "./NodeSqlite.ts"

/**
 * @since 0.1.0
 */
export * as NodeStorage from "./NodeStorage.ts"

/**
 * @since 0.1.0
 */
export * as NodeWorkloadIdentity from "./NodeWorkloadIdentity.ts"

/**
 * @since 0.1.0
 */
export * as PrivateFile from "./PrivateFile.ts"

/**
 * @since 0.1.0
 */
export * as SecretFile from "./SecretFile.ts"

/**
 * @since 0.1.0
 */
export * as TerminalLoginPrompt from "./TerminalLoginPrompt.ts"
