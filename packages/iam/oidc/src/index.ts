// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as ClientAuthentication from "./ClientAuthentication.ts"

/**
 * @since 0.1.0
 */
export * as OidcClaims from "./OidcClaims.ts"

/**
 * @since 0.1.0
 */
export * as OidcIam from "./OidcIam.ts"

/**
 * @since 0.1.0
 */
export * as OidcMetadata from "./OidcMetadata.ts"

/**
 * @since 0.1.0
 */
export * as OidcOptions from "./OidcOptions.ts"

/**
 * @since 0.1.0
 */
export * as OidcStrategy from "./OidcStrategy.ts"

/**
 * @since 0.1.0
 */
export * as TokenSource from "./TokenSource.ts"
