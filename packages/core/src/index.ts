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
export * as AuthStrategy from "./login/AuthStrategy.ts"

/**
 * @since 0.1.0
 */
export * as BackgroundSleep from "./keeper/BackgroundSleep.ts"

/**
 * @since 0.1.0
 */
export * as BearerAuth from "./BearerAuth.ts"

/**
 * @since 0.1.0
 */
export * as Browser from "./login/Browser.ts"

/**
 * @since 0.1.0
 */
export * as BrowserLogin from "./iam/BrowserLogin.ts"

/**
 * @since 0.1.0
 */
export * as CallbackServer from "./login/CallbackServer.ts"

/**
 * @since 0.1.0
 */
export * as Challenge from "./Challenge.ts"

/**
 * @since 0.1.0
 */
export * as DeviceLogin from "./iam/DeviceLogin.ts"

/**
 * @since 0.1.0
 */
export * as DpopProof from "./jwt/DpopProof.ts"

/**
 * @since 0.1.0
 */
export * as DueSessions from "./storage/DueSessions.ts"

/**
 * @since 0.1.0
 */
export * as EncryptedTokenStorage from "./storage/EncryptedTokenStorage.ts"

/**
 * @since 0.1.0
 */
export * as EncryptionKeys from "./storage/EncryptionKeys.ts"

/**
 * @since 0.1.0
 */
export * as EnvelopeKeys from "./storage/EnvelopeKeys.ts"

/**
 * @since 0.1.0
 */
export * as ExportDocument from "./iam/ExportDocument.ts"

/**
 * @since 0.1.0
 */
export * as IamClient from "./iam/IamClient.ts"

/**
 * @since 0.1.0
 */
export * as IamError from "./iam/IamError.ts"

/**
 * @since 0.1.0
 */
export * as IamHttp from "./iam/IamHttp.ts"

/**
 * @since 0.1.0
 */
export * as InteractiveStrategy from "./login/InteractiveStrategy.ts"

/**
 * @since 0.1.0
 */
export * as Jwks from "./jwt/Jwks.ts"

/**
 * @since 0.1.0
 */
export * as JwtCodec from "./jwt/JwtCodec.ts"

/**
 * @since 0.1.0
 */
export * as JwtError from "./jwt/JwtError.ts"

/**
 * @since 0.1.0
 */
export * as KeptSession from "./keeper/KeptSession.ts"

/**
 * @since 0.1.0
 */
export * as LeaseLock from "./storage/LeaseLock.ts"

/**
 * @since 0.1.0
 */
export * as LoginPrompt from "./login/LoginPrompt.ts"

/**
 * @since 0.1.0
 */
export * as PendingLogins from "./storage/PendingLogins.ts"

/**
 * @since 0.1.0
 */
export * as ProofKeys from "./iam/ProofKeys.ts"

/**
 * @since 0.1.0
 */
export * as PublicHttpClient from "./iam/PublicHttpClient.ts"

/**
 * @since 0.1.0
 */
export * as Redaction from "./iam/Redaction.ts"

/**
 * @since 0.1.0
 */
export * as RefreshPolicy from "./session/RefreshPolicy.ts"

/**
 * @since 0.1.0
 */
export * as Rekey from "./storage/Rekey.ts"

/**
 * @since 0.1.0
 */
export * as RenewalMetrics from "./keeper/RenewalMetrics.ts"

/**
 * @since 0.1.0
 */
export * as SecureUrl from "./SecureUrl.ts"

/**
 * @since 0.1.0
 */
export * as Selection from "./session/Selection.ts"

/**
 * @since 0.1.0
 */
export * as ServiceTokens from "./storage/ServiceTokens.ts"

/**
 * @since 0.1.0
 */
export * as Session from "./session/Session.ts"

/**
 * @since 0.1.0
 */
export * as SessionKeeper from "./keeper/SessionKeeper.ts"

/**
 * @since 0.1.0
 */
export * as SessionKey from "./session/SessionKey.ts"

/**
 * @since 0.1.0
 */
export * as SessionLock from "./storage/SessionLock.ts"

/**
 * @since 0.1.0
 */
export * as SessionState from "./session/SessionState.ts"

/**
 * @since 0.1.0
 */
export * as StoragePolicy from "./storage/StoragePolicy.ts"

/**
 * @since 0.1.0
 */
export * as TokenDigest from "./jwt/TokenDigest.ts"

/**
 * @since 0.1.0
 */
export * as TokenIntrospection from "./TokenIntrospection.ts"

/**
 * @since 0.1.0
 */
export * as TokenSet from "./session/TokenSet.ts"

/**
 * @since 0.1.0
 */
export * as TokenStorage from "./storage/TokenStorage.ts"

/**
 * @since 0.1.0
 */
export * as TokenStorageError from "./storage/TokenStorageError.ts"

/**
 * @since 0.1.0
 */
export * as User from "./session/User.ts"

/**
 * @since 0.1.0
 */
export * as Variable from "./Variable.ts"

/**
 * @since 0.1.0
 */
export * as WorkloadIdentity from "./login/WorkloadIdentity.ts"
