// @barrel: Auto-generated exports. Do not edit manually.

/**
 * @since 0.1.0
 */
export * as BareServer from "./BareServer.ts"

/**
 * @since 0.1.0
 */
export * as DueSessionsSuite from "./DueSessionsSuite.ts"

/**
 * @since 0.1.0
 */
export * as FaultProxy from "./FaultProxy.ts"

/**
 * @since 0.1.0
 */
export * as IamClientSuite from "./IamClientSuite.ts"

/**
 * @since 0.1.0
 */
export * as IamSimulator from "./IamSimulator.ts"

/**
 * @since 0.1.0
 */
export * as LeaseSuite from "./LeaseSuite.ts"

/**
 * @since 0.1.0
 */
export * as OidcProvider from "./OidcProvider.ts"

/**
 * @since 0.1.0
 */
export * as PendingLoginsSuite from "./PendingLoginsSuite.ts"

/**
 * @since 0.1.0
 */
export * as PostgresServer from "./PostgresServer.ts"

/**
 * @since 0.1.0
 */
export * as RedisServer from "./RedisServer.ts"

/**
 * @since 0.1.0
 */
export * as ScriptedIam from "./ScriptedIam.ts"

/**
 * @since 0.1.0
 */
export * as ScriptedUserAgent from "./ScriptedUserAgent.ts"

/**
 * @since 0.1.0
 */
export * as ServiceTokensSuite from "./ServiceTokensSuite.ts"

/**
 * @since 0.1.0
 */
export * as SimulatorApi from "./SimulatorApi.ts"

/**
 * @since 0.1.0
 */
export * as TcpFaultProxy from "./TcpFaultProxy.ts"

/**
 * @since 0.1.0
 */
export * as TestProcess from "./TestProcess.ts"

/**
 * @since 0.1.0
 */
export * as TokenStorageSuite from "./TokenStorageSuite.ts"

/**
 * @since 0.1.0
 */
export * as Witness from "./Witness.ts"
