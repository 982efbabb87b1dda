// @barrel: Auto-generated exports. Do not edit manually.

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
export * as NodeNap from "./NodeNap.ts"
