// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as RedisTokenStorage from "./RedisTokenStorage.ts"
