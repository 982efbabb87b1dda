// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as GenomcoreApi from "./GenomcoreApi.ts"

/**
 * @since 0.1.0
 */
export * as GenomcoreClaims from "./GenomcoreClaims.ts"

/**
 * @since 0.1.0
 */
export * as GenomcoreClient from "./GenomcoreClient.ts"

/**
 * @since 0.1.0
 */
export * as GenomcoreIam from "./GenomcoreIam.ts"

/**
 * @since 0.1.0
 */
export * as GenomcoreOptions from "./GenomcoreOptions.ts"
