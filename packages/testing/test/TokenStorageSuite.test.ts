import { TokenStorage } from "@effect-authn/core"
import * as TokenStorageSuite from "@effect-authn/testing/TokenStorageSuite"

TokenStorageSuite.suite("memory", TokenStorage.layerMemory)
