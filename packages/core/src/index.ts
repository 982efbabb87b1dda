// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as AuthError from "./AuthError.ts"

/**
 * @since 0.1.0
 */
export * as AuthHttpClient from "./AuthHttpClient.ts"

/**
 * @since 0.1.0
 */
export * as AuthManager from "./AuthManager.ts"

/**
 * @since 0.1.0
 */
export * as AuthStrategy from "./AuthStrategy.ts"

/**
 * @since 0.1.0
 */
export * as IamClient from "./IamClient.ts"

/**
 * @since 0.1.0
 */
export * as IamHttp from "./IamHttp.ts"

/**
 * @since 0.1.0
 */
export * as Jwks from "./Jwks.ts"

/**
 * @since 0.1.0
 */
export * as JwtCodec from "./JwtCodec.ts"

/**
 * @since 0.1.0
 */
export * as Nap from "./Nap.ts"

/**
 * @since 0.1.0
 */
export * as RefreshPolicy from "./RefreshPolicy.ts"

/**
 * @since 0.1.0
 */
export * as Selection from "./Selection.ts"

/**
 * @since 0.1.0
 */
export * as Session from "./Session.ts"

/**
 * @since 0.1.0
 */
export * as SessionDocument from "./SessionDocument.ts"

/**
 * @since 0.1.0
 */
export * as SessionKeeper from "./SessionKeeper.ts"

/**
 * @since 0.1.0
 */
export * as SessionLock from "./SessionLock.ts"

/**
 * @since 0.1.0
 */
export * as SessionState from "./SessionState.ts"

/**
 * @since 0.1.0
 */
export * as TokenSet from "./TokenSet.ts"

/**
 * @since 0.1.0
 */
export * as TokenStorage from "./TokenStorage.ts"

/**
 * @since 0.1.0
 */
export * as User from "./User.ts"
