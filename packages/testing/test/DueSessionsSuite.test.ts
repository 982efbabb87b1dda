import { TokenStorage } from "@effect-authn/core"
import * as DueSessionsSuite from "@effect-authn/testing/DueSessionsSuite"

DueSessionsSuite.suite("memory", TokenStorage.layerMemory)
