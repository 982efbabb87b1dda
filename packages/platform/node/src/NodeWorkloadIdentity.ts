/**
 * The platforms that sign a token for the program that they run, each by its documented variables and places.
 *
 * No token is asked for without an audience, and none is handed out for another one.
 *
 * @since 0.1.0
 */
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Identity from "@effect-authn/core/login/WorkloadIdentity"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as GcpMetadata from "./internal/gcpMetadata.ts"
import * as Command from "./internal/identityCommand.ts"
import * as SecretFile from "./SecretFile.ts"

type WorkloadIdentity = Identity.WorkloadIdentity["Service"]

const absent = (source: string, detail: string) =>
  new Identity.WorkloadError({ source, reason: new Identity.WorkloadAbsent({ detail }) })

const broken = (source: string, detail: string) =>
  new Identity.WorkloadError({ source, reason: new Identity.WorkloadBroken({ detail }) })

const unavailable = (source: string, detail: string) =>
  new Identity.WorkloadError({ source, reason: new Identity.WorkloadUnavailable({ detail }) })

const variable = (name: string): Effect.Effect<Option.Option<string>> =>
  Effect.option(Effect.map(Config.NonEmptyString(name), (text) => text.trim())).pipe(
    Effect.map(Option.filter((text) => text !== ""))
  )

/**
 * A job of GitHub Actions: `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`, which a job has that says
 * `permissions: id-token: write`. The token is asked for at each use; it lives for minutes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const githubActions: Effect.Effect<WorkloadIdentity, never, HttpClient.HttpClient> = Effect.map(
  HttpClient.HttpClient,
  (http) => {
    const description = "GitHub Actions"
    return {
      description,
      token: Effect.fn("NodeWorkloadIdentity.githubActions")(function*(audience) {
        const address = yield* variable("ACTIONS_ID_TOKEN_REQUEST_URL")
        const bearer = yield* variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        if (Option.isSome(address) !== Option.isSome(bearer)) {
          const [known, missing] = Option.isSome(address)
            ? ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
            : ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL"]
          return yield* broken(description, `${known} is set, and ${missing} is not: hand both on to this program`)
        }
        if (Option.isNone(address) || Option.isNone(bearer)) {
          const isJob = Option.isSome(yield* variable("GITHUB_ACTIONS"))
          return yield* absent(
            description,
            isJob
              ? "this job may ask for no token: give it `permissions:` with `id-token: write`"
              : "ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN are not set"
          )
        }
        const url = URL.parse(address.value)
        if (url === null || !SecureUrl.mayCarrySecrets(url)) {
          return yield* broken(
            description,
            "ACTIONS_ID_TOKEN_REQUEST_URL is no address of https: nothing was sent there"
          )
        }
        url.searchParams.set("audience", audience)
        const secret = Redacted.make(bearer.value)
        const call = { issuer: url.origin, method: "token", secrets: [secret], timeLimit: Duration.seconds(10) }
        const request = HttpClientRequest.get(url, { acceptJson: true }).pipe(HttpClientRequest.bearerToken(secret))
        const answer = yield* IamHttp.execute(request, call).pipe(
          Effect.provideService(HttpClient.HttpClient, http),
          Effect.mapError(({ reason }) =>
            reason._tag === "Unavailable"
              ? unavailable(description, reason.detail)
              : broken(description, reason.message)
          )
        )
        const value = Option.getOrUndefined(answer.body)?.["value"]
        if (answer.status !== 200 || typeof value !== "string") {
          const said = Option.getOrElse(answer.message, () => answer.shape)
          return yield* broken(description, `it gives no token (${said}): look at the \`permissions\` of the job`)
        }
        return yield* Identity.accept(description, value, audience)
      })
    }
  }
)

/**
 * A job of GitLab CI: the variable that its `id_tokens:` names, with the `aud` that is written there;
 * `GITLAB_OIDC_TOKEN` unless told.
 *
 * @category constructors
 * @since 0.1.0
 */
export const gitlabCi = (options?: { readonly variable?: string | undefined }): WorkloadIdentity => {
  const description = "GitLab CI"
  const name = options?.variable ?? "GITLAB_OIDC_TOKEN"
  return {
    description,
    token: Effect.fnUntraced(function*(audience) {
      const text = yield* variable(name)
      if (Option.isSome(text)) {
        return yield* Identity.accept(description, text.value, audience, { isForOthersToo: true })
      }
      const isJob = Option.isSome(yield* variable("GITLAB_CI"))
      return yield* absent(
        description,
        isJob
          ? `${name} is not set: give the job \`id_tokens:\` with ${name} and \`aud: ${audience}\``
          : `${name} is not set`
      )
    })
  }
}

/**
 * A file that somebody else writes and renews: a JWT-SVID of SPIFFE, a projected token. It is read at each use, and a link
 * is followed. One that is not there says that this program runs elsewhere.
 *
 * @category constructors
 * @since 0.1.0
 */
export const file = (path: string): WorkloadIdentity => {
  const description = `the file ${path}`
  return {
    description,
    token: (audience) =>
      Effect.flatMap(
        readFile(description, path, "maybe"),
        (text) => Identity.accept(description, Redacted.value(text), audience)
      )
  }
}

const readFile = (source: string, path: string, isExpected: "yes" | "maybe") =>
  Effect.mapError(
    SecretFile.read(path),
    (error) => error.isAbsent && isExpected === "maybe" ? absent(source, error.message) : broken(source, error.message)
  )

/** A file that the platform names in a variable, and that it hands to other programs too. */
const namedFile = (description: string, name: string): WorkloadIdentity => ({
  description,
  token: Effect.fnUntraced(function*(audience) {
    const path = yield* variable(name)
    if (Option.isNone(path)) return yield* absent(description, `${name} is not set`)
    const text = yield* readFile(`${description} (${name})`, path.value, "yes")
    return yield* Identity.accept(description, Redacted.value(text), audience, { isForOthersToo: true })
  })
})

/**
 * A pod of Kubernetes. `path` is where a token with the IAM's audience is projected (`volumes: projected: sources:
 * serviceAccountToken`). Unless told it is the pod's own, which is for the cluster's API and fits no other audience.
 *
 * @category constructors
 * @since 0.1.0
 */
export const kubernetes = (options?: { readonly path?: string | undefined }): WorkloadIdentity => {
  const description = "Kubernetes"
  const path = options?.path ?? "/var/run/secrets/kubernetes.io/serviceaccount/token"
  return {
    description,
    token: (audience) =>
      Effect.flatMap(
        readFile(description, path, "maybe"),
        (text) =>
          Identity.accept(description, Redacted.value(text), audience, { isForOthersToo: options?.path === undefined })
      )
  }
}

/**
 * A pod or job with a federated identity of Azure: the file that `AZURE_FEDERATED_TOKEN_FILE` names. Its audience is
 * `api://AzureADTokenExchange` unless it was set up for another.
 *
 * @category constructors
 * @since 0.1.0
 */
export const azureFederated: WorkloadIdentity = namedFile("Azure workload identity", "AZURE_FEDERATED_TOKEN_FILE")

/**
 * A pod with a role of AWS: the file that `AWS_WEB_IDENTITY_TOKEN_FILE` names. Its audience is `sts.amazonaws.com` unless
 * it was set up for another.
 *
 * @category constructors
 * @since 0.1.0
 */
export const awsWebIdentity: WorkloadIdentity = namedFile("AWS web identity", "AWS_WEB_IDENTITY_TOKEN_FILE")

/**
 * A machine, a job or a service of Google Cloud, by its metadata server. It is asked only where `GCE_METADATA_HOST`,
 * `K_SERVICE`, `CLOUD_RUN_JOB`, `FUNCTION_NAME` or the machine's firmware says that there is one, and not at all where
 * `NO_GCE_CHECK` is `true` and `GCE_METADATA_HOST` is not set. `GCE_METADATA_HOST` may name an address of this link or of this machine, and no other.
 *
 * Without a connection within 300 ms nobody is there, unless a variable says so. Who takes the connection and has not
 * answered within 3 s is away for now.
 *
 * @category constructors
 * @since 0.1.0
 */
export const gcpMetadata: WorkloadIdentity = {
  description: "Google Cloud metadata",
  token: Effect.fn("NodeWorkloadIdentity.gcpMetadata")(function*(audience) {
    const description = "Google Cloud metadata"
    const path = "/computeMetadata/v1/instance/service-accounts/default/identity"
    const told = yield* variable("GCE_METADATA_HOST")
    const isOff = Option.exists(yield* variable("NO_GCE_CHECK"), (text) => /^(true|1)$/i.test(text))
    if (isOff && Option.isNone(told)) return yield* absent(description, "NO_GCE_CHECK says not to look")
    const marks = yield* Effect.forEach(["K_SERVICE", "CLOUD_RUN_JOB", "FUNCTION_NAME"], variable)
    const isNamed = Option.isSome(told) || marks.some(Option.isSome)
    if (!isNamed && !(yield* GcpMetadata.isGoogleMachine)) {
      return yield* absent(description, "neither a variable nor the firmware says that this is Google Cloud")
    }
    const server = GcpMetadata.addressOf(told)
    if (Option.isNone(server)) {
      return yield* broken(
        description,
        "GCE_METADATA_HOST is no address of this link (169.254.0.0/16, fe80::/10) or of this machine: nothing was asked"
      )
    }
    const query = new URLSearchParams({ audience, format: "full" })
    const answer = yield* GcpMetadata.ask(server.value, `${path}?${query}`)
    if (answer._tag === "Nothing") {
      return yield* (isNamed || answer.isThere ? unavailable : absent)(
        description,
        `${server.value.host}: ${answer.detail}`
      )
    }
    if (answer.status >= 300 && answer.status < 400) {
      return yield* broken(description, `${server.value.host} redirects, which no metadata server does: not followed`)
    }
    if (!answer.isGoogle) {
      return yield* broken(
        description,
        `what answers at ${server.value.host} (status ${answer.status}) does not say \`Metadata-Flavor: Google\``
      )
    }
    if (answer.status === 404) {
      return yield* absent(description, "this machine has no service account: attach one to it")
    }
    if (answer.status === 429 || answer.status >= 500) {
      return yield* unavailable(description, `status ${answer.status}`)
    }
    if (answer.status !== 200) {
      return yield* broken(description, `the server gives no token (status ${answer.status})`)
    }
    return yield* Identity.accept(description, answer.text, audience)
  })
}

/**
 * A program that prints the token, as an argument vector: no shell reads it. In each argument `{audience}` stands for the
 * audience. It gets none of this project's variables, nothing to read, and ten seconds.
 *
 * **Gotchas**
 *
 * Take it from code or from a person's own flags, never from a file or a variable that others write.
 *
 * @category constructors
 * @since 0.1.0
 */
export const command = (argv: readonly [string, ...ReadonlyArray<string>]): WorkloadIdentity => {
  const [program, ...args] = argv
  const description = `the command ${program}`
  return {
    description,
    token: Effect.fn("NodeWorkloadIdentity.command")(function*(audience) {
      const ran = yield* Command.run([program, ...args.map((arg) => arg.replaceAll("{audience}", () => audience))])
      switch (ran._tag) {
        case "Printed":
          return yield* Identity.accept(description, ran.text, audience)
        case "Failed":
          return yield* broken(description, ran.detail)
        case "Late":
          return yield* unavailable(description, ran.detail)
      }
    })
  }
}

/**
 * The first platform on which this program runs: GitHub Actions, GitLab CI, Azure, AWS, Kubernetes, Google Cloud. What
 * `identities` names comes before them.
 *
 * **Example** (A client whose secret is what its platform signs)
 *
 * ```ts
 * import { WorkloadIdentity } from "@effect-authn/core"
 * import { OidcIam } from "@effect-authn/iam-oidc"
 * import { NodeAuth, NodeWorkloadIdentity } from "@effect-authn/platform-node"
 * import { Effect, Layer } from "effect"
 *
 * const issuer = "https://idp.example.com"
 *
 * const iam = Layer.unwrap(Effect.map(WorkloadIdentity.WorkloadIdentity, (platform) =>
 *   OidcIam.layer({
 *     issuer,
 *     clientId: "my-service",
 *     clientAuthentication: {
 *       method: "assertion",
 *       token: Effect.map(platform.token(issuer), ({ token }) => token)
 *     }
 *   }))).pipe(Layer.provide(NodeWorkloadIdentity.layer()))
 *
 * export const layer = NodeAuth.layer(iam)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  ...identities: ReadonlyArray<WorkloadIdentity>
): Layer.Layer<Identity.WorkloadIdentity, never, HttpClient.HttpClient> =>
  Layer.effect(
    Identity.WorkloadIdentity,
    Effect.map(githubActions, (github) =>
      Identity.firstOf(
        ...identities,
        github,
        gitlabCi(),
        azureFederated,
        awsWebIdentity,
        kubernetes(),
        gcpMetadata
      ))
  )
