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
export * as GenomcoreDialect from "./GenomcoreDialect.ts"

/**
 * @since 0.1.0
 */
export * as GenomcoreDocument from "./GenomcoreDocument.ts"

/**
 * @since 0.1.0
 */
export * as GenomcoreIam from "./GenomcoreIam.ts"
