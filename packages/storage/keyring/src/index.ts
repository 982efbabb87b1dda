// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as Keychain from "./Keychain.ts"

/**
 * @since 0.1.0
 */
export * as KeychainKeySource from "./KeychainKeySource.ts"

/**
 * @since 0.1.0
 */
export * as KeychainProofKeys from "./KeychainProofKeys.ts"
