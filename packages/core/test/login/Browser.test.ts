import { Browser } from "@effect-authn/core"
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Effect, Option } from "effect"

it.effect("an opened browser is in front of a person, unless the environment says otherwise", () =>
  Effect.gen(function*() {
    const cases: ReadonlyArray<
      readonly [env: Record<string, string>, needsDisplay: boolean, says: string | undefined]
    > = [
      [{ DISPLAY: ":0" }, true, undefined],
      [{ WAYLAND_DISPLAY: "wayland-0" }, true, undefined],
      [{ WSL_DISTRO_NAME: "Debian" }, true, undefined],
      [{}, true, "there is no display"],
      [{ DISPLAY: "" }, true, "there is no display"],
      [{}, false, undefined],
      [
        { SSH_CONNECTION: "10.0.0.1 51234 10.0.0.2 22", DISPLAY: ":10" },
        true,
        "an SSH session (SSH_CONNECTION is set)"
      ],
      [{ SSH_TTY: "/dev/pts/0" }, false, "an SSH session (SSH_TTY is set)"],
      [{ CODESPACES: "true", DISPLAY: ":0" }, true, "a GitHub codespace"],
      [{ REMOTE_CONTAINERS: "1" }, false, "a development container"],
      [{ KUBERNETES_SERVICE_HOST: "10.0.0.1" }, false, "a container"],
      [{ container: "podman" }, false, "a container (container is set)"],
      [{ CI: "true" }, false, "continuous integration"],
      [{ CI: "false" }, false, undefined],
      [{ CI: "0", CODESPACES: " False " }, false, undefined]
    ]
    for (const [env, needsDisplay, says] of cases) {
      const obstacle = yield* Browser.environmentObstacle({ needsDisplay }).pipe(
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
      )
      const name = JSON.stringify(env)
      if (says === undefined) assert.deepStrictEqual(obstacle, Option.none(), name)
      else assert.include(Option.getOrThrow(obstacle), says, name)
    }
  }))
