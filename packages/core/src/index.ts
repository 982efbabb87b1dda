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
export * as BearerAuth from "./BearerAuth.ts"

/**
 * @since 0.1.0
 */
export * as Browser from "./Browser.ts"

/**
 * @since 0.1.0
 */
export * as BrowserLogin from "./BrowserLogin.ts"

/**
 * @since 0.1.0
 */
export * as CallbackServer from "./CallbackServer.ts"

/**
 * @since 0.1.0
 */
export * as DeviceLogin from "./DeviceLogin.ts"

/**
 * @since 0.1.0
 */
export * as EncryptedTokenStorage from "./EncryptedTokenStorage.ts"

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
export * as InteractiveStrategy from "./InteractiveStrategy.ts"

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
export * as KeySource from "./KeySource.ts"

/**
 * @since 0.1.0
 */
export * as LoginPrompt from "./LoginPrompt.ts"

/**
 * @since 0.1.0
 */
export * as Nap from "./Nap.ts"

/**
 * @since 0.1.0
 */
export * as Redaction from "./Redaction.ts"

/**
 * @since 0.1.0
 */
export * as RefreshPolicy from "./RefreshPolicy.ts"

/**
 * @since 0.1.0
 */
export * as RenewalMetrics from "./RenewalMetrics.ts"

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
export * as StoragePolicy from "./StoragePolicy.ts"

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
