// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as DatalayerApi from "./DatalayerApi.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerBrowserLogin from "./DatalayerBrowserLogin.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerClient from "./DatalayerClient.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerIam from "./DatalayerIam.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerLeftBehind from "./DatalayerLeftBehind.ts"

/**
 * @since 0.1.0
 */
export * as DatalayerProfile from "./DatalayerProfile.ts"
