// Asks a person at the terminal for an address, and says how long what they pasted was.
import { LoginPrompt } from "@effect-authn/core"
import { TerminalLoginPrompt } from "@effect-authn/platform-node"
import { Effect, Option, Redacted } from "effect"

await Effect.gen(function*() {
  const prompt = yield* LoginPrompt.LoginPrompt
  const pasted = yield* prompt.ask(LoginPrompt.Notice.cases.PasteCallback.make({ url: "https://iam.example/" }))
  console.log(Option.match(pasted, {
    onNone: () => "nothing",
    onSome: (line) => `${Redacted.value(line).length} characters`
  }))
}).pipe(Effect.provide(TerminalLoginPrompt.layer), Effect.runPromise)
