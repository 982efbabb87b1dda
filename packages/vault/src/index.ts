// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as Connect from "./Connect.ts"

/**
 * @since 0.1.0
 */
export * as IssuerRate from "./IssuerRate.ts"

/**
 * @since 0.1.0
 */
export * as RestPolicy from "./RestPolicy.ts"

/**
 * @since 0.1.0
 */
export * as Sweeper from "./Sweeper.ts"

/**
 * @since 0.1.0
 */
export * as Vault from "./Vault.ts"

/**
 * @since 0.1.0
 */
export * as VaultApi from "./VaultApi.ts"

/**
 * @since 0.1.0
 */
export * as VaultClient from "./VaultClient.ts"

/**
 * @since 0.1.0
 */
export * as VaultMetrics from "./VaultMetrics.ts"

/**
 * @since 0.1.0
 */
export * as VaultServer from "./VaultServer.ts"

/**
 * @since 0.1.0
 */
export * as VaultStatus from "./VaultStatus.ts"
