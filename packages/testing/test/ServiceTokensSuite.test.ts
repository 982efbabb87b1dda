import { ServiceTokens } from "@effect-authn/core"
import * as ServiceTokensSuite from "@effect-authn/testing/ServiceTokensSuite"

ServiceTokensSuite.suite("memory", ServiceTokens.layerMemory)
