import { RefreshPolicy, Selection, Session, User } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, DateTime, Duration, Effect, Option, Schema } from "effect"
