import { PendingLogins } from "@effect-authn/core"
import * as PendingLoginsSuite from "@effect-authn/testing/PendingLoginsSuite"

PendingLoginsSuite.suite("memory", PendingLogins.layerMemory)
