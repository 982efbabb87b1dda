// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as DatalayerApi from "./DatalayerApi.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerClient from "./DatalayerClient.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerForeignSessions from "./DatalayerForeignSessions.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerIam from "./DatalayerIam.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerOptions from "./DatalayerOptions.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerProfile from "./DatalayerProfile.ts"
