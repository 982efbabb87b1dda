/**
 * Talking to the person who signs in: the flows never print.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/**
 * What a person is told:
 *
 * - `Chosen`: which way to sign in was chosen, and why not another one.
 * - `OpenBrowser`: a browser opens at `url`.
 * - `BrowserNotOpened`: it did not, so the person has to open `url`.
 * - `EnterCode`: `userCode` has to be entered at `verificationUri`, on any device.
 * - `PasteCallback`: `url` has to be opened in any browser, and the address where it ends has to be pasted.
 * - `PasteAgain`: what was pasted was not that address, for the reason `problem`.
 *
 * @category models
 * @since 0.1.0
 */
export const Notice = Schema.TaggedUnion({
  Chosen: { strategy: Schema.String, reason: Schema.String },
  OpenBrowser: { url: Schema.String },
  BrowserNotOpened: { url: Schema.String, detail: Schema.String },
  EnterCode: {
    userCode: Schema.String,
    verificationUri: Schema.String,
    verificationUriComplete: Schema.Option(Schema.String),
    expiresAt: Schema.DateTimeUtc
  },
  PasteCallback: { url: Schema.String },
  PasteAgain: { problem: Schema.String }
})

/**
 * The type of the schema `Notice`.
 *
 * @category models
 * @since 0.1.0
 */
export type Notice = typeof Notice.Type

/**
 * Shows notices to the person who signs in and asks them for answers. `TerminalLoginPrompt` of
 * `@effect-authn/platform-node` is the one for terminals.
 *
 * **When to use**
 *
 * Use your own in a program with a window, or to put the words into another language.
 *
 * **Example** (Collecting notices, for a window or a test)
 *
 * ```ts import.meta.vitest
 * import { LoginPrompt } from "@effect-authn/core"
 * import { Effect, Layer, Option } from "effect"
 *
 * const shown: Array<LoginPrompt.Notice["_tag"]> = []
 * const layer = Layer.succeed(LoginPrompt.LoginPrompt, {
 *   obstacle: Effect.succeedSome("nobody looks at this window"),
 *   show: (notice) => Effect.sync(() => void shown.push(notice._tag)),
 *   ask: () => Effect.succeedNone
 * })
 *
 * const program = Effect.gen(function*() {
 *   const prompt = yield* LoginPrompt.LoginPrompt
 *   yield* prompt.show(LoginPrompt.Notice.cases.OpenBrowser.make({ url: "https://idp.example.com/authorize" }))
 *   return yield* prompt.obstacle
 * })
 *
 * Option.getOrThrow(await Effect.runPromise(Effect.provide(program, layer))) // => "nobody looks at this window"
 * shown // => ["OpenBrowser"]
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class LoginPrompt extends Context.Service<LoginPrompt, {
  /** Why nobody could answer a question here, in words for people; `None` if somebody can. */
  readonly obstacle: Effect.Effect<Option.Option<string>>
  /** Tells something, and does not wait for the person. */
  readonly show: (notice: Notice) => Effect.Effect<void>
  /** Shows a notice and waits for an answer, which may hold a secret; `None` when the person leaves. */
  readonly ask: (notice: Notice) => Effect.Effect<Option.Option<Redacted.Redacted>>
}>()("@effect-authn/core/login/LoginPrompt") {}

/**
 * A notice in English, as plain text for a terminal. What the IAM wrote is stripped of control characters.
 *
 * **Example** (What a terminal shows)
 *
 * ```ts import.meta.vitest
 * import { LoginPrompt } from "@effect-authn/core"
 *
 * const notice = LoginPrompt.Notice.cases.Chosen.make({ strategy: "device", reason: "there is no display" })
 * LoginPrompt.text(notice) // => "Signing in by device: there is no display."
 * ```
 *
 * @category formatting
 * @since 0.1.0
 */
export const text = (notice: Notice): string =>
  Notice.match(notice, {
    Chosen: ({ reason, strategy }) => `Signing in by ${strategy}: ${plain(reason)}.`,
    OpenBrowser: ({ url }) => `Your browser opens to sign in. If it does not, open this address:\n\n  ${plain(url)}\n`,
    BrowserNotOpened: ({ detail, url }) =>
      `The browser did not open (${plain(detail)}). Open this address in a browser on this machine:\n\n  ${
        plain(url)
      }\n`,
    EnterCode: ({ expiresAt, userCode, verificationUri, verificationUriComplete }) => {
      const direct = Option.match(verificationUriComplete, {
        onNone: () => "",
        onSome: (url) => `\nor open this address, which has the code:\n\n  ${plain(url)}\n`
      })
      return `To sign in, open this address on any device:\n\n  ${plain(verificationUri)}\n\n` +
        `and enter the code:\n\n  ${plain(userCode)}\n${direct}\nThe code is good until ${
          DateTime.formatIso(expiresAt).replace(/\.\d+/, "")
        }.`
    },
    PasteCallback: ({ url }) =>
      `Open this address in a browser on any machine and sign in:\n\n  ${plain(url)}\n\n` +
      `The browser ends at a page that it cannot open. Copy that page's whole address, and paste it here:`,
    PasteAgain: ({ problem }) =>
      `That was not it: ${
        plain(problem)
      }. Copy the whole address of the page where the browser ends, and paste it here:`
  })

const plain = (text: string): string => text.replace(/\p{C}+/gu, "")
