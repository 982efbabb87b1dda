// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as SqlRateLimiterStore from "./SqlRateLimiterStore.ts"

/**
 * @since 0.1.0
 */
export * as SqlTokenStorage from "./SqlTokenStorage.ts"
