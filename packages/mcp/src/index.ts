// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as AuthorizationServer from "./AuthorizationServer.ts"

/**
 * @since 0.1.0
 */
export * as ClientRegistration from "./ClientRegistration.ts"

/**
 * @since 0.1.0
 */
export * as McpAuth from "./McpAuth.ts"

/**
 * @since 0.1.0
 */
export * as McpServerAuth from "./McpServerAuth.ts"

/**
 * @since 0.1.0
 */
export * as ProtectedResource from "./ProtectedResource.ts"
