import { JwtCodec } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"

// The examples of RFC 7515 (appendix A), RFC 7520 (section 4) and RFC 8037 (appendix A), letter by letter. Many sign a
// text that is no claims set: such a token is `Malformed` when its signature fits, and `BadSignature` when it does not.

interface Example {
  readonly name: string
  readonly algorithm: JwtCodec.Algorithm
  readonly key: JwtCodec.Jwk
  readonly token: string
  readonly holds: "claims" | "text"
}

const joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
const frodo =
  "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9h" +
  "ZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3" +
  "ZXB0IG9mZiB0by4"

const bilboRsa: JwtCodec.Jwk = {
  kty: "RSA",
  kid: "bilbo.baggins@hobbiton.example",
  use: "sig",
  n: "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKr" +
    "Kb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5l" +
    "FHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__" +
    "kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw",
  e: "AQAB"
}
const bilboEc: JwtCodec.Jwk = {
  kty: "EC",
  kid: "bilbo.baggins@hobbiton.example",
  use: "sig",
  crv: "P-521",
  x: "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
  y: "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"
}
const hmacSecret: JwtCodec.Jwk = {
  kty: "oct",
  kid: "018c0ae5-4d9b-471b-bfd6-eef314bc7037",
  use: "sig",
  alg: "HS256",
  k: "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"
}

const examples: ReadonlyArray<Example> = [
  {
    name: "RFC 7515 A.1, HMAC SHA-256",
    algorithm: "HS256",
    key: {
      kty: "oct",
      k: "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    },
    token: `eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.${joe}.` +
      "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    holds: "claims"
  },
  {
    name: "RFC 7515 A.2, RSASSA-PKCS1-v1_5 SHA-256",
    algorithm: "RS256",
    key: {
      kty: "RSA",
      n: "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SF" +
        "d2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo" +
        "7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkM" +
        "Ls91kzk2PAcDTW9gb54h4FRWyuXpoQ",
      e: "AQAB"
    },
    token: `eyJhbGciOiJSUzI1NiJ9.${joe}.` +
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb" +
      "F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383" +
      "LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy" +
      "wlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    holds: "claims"
  },
  {
    name: "RFC 7515 A.3, ECDSA P-256 SHA-256",
    algorithm: "ES256",
    key: {
      kty: "EC",
      crv: "P-256",
      x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
      y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    },
    token: `eyJhbGciOiJFUzI1NiJ9.${joe}.` +
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    holds: "claims"
  },
  {
    name: "RFC 7515 A.4, ECDSA P-521 SHA-512",
    algorithm: "ES512",
    key: {
      kty: "EC",
      crv: "P-521",
      x: "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
      y: "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"
    },
    token: "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA." +
      "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgo" +
      "XD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
    holds: "text"
  },
  {
    name: "RFC 7520 4.1, RSA v1.5",
    algorithm: "RS256",
    key: bilboRsa,
    token: `eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.${frodo}.` +
      "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB" +
      "-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxn" +
      "t8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcI" +
      "e8u9ipH84ogoree7vjbU5y18kDquDg",
    holds: "text"
  },
  {
    name: "RFC 7520 4.2, RSA-PSS",
    algorithm: "PS384",
    key: bilboRsa,
    token: `eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.${frodo}.` +
      "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6" +
      "_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3" +
      "lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6G" +
      "YmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
    holds: "text"
  },
  {
    name: "RFC 7520 4.3, ECDSA",
    algorithm: "ES512",
    key: bilboEc,
    token: `eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.${frodo}.` +
      "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDy" +
      "YjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2",
    holds: "text"
  },
  {
    name: "RFC 7520 4.4, HMAC-SHA2",
    algorithm: "HS256",
    key: hmacSecret,
    token: `eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.${frodo}.` +
      "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
    holds: "text"
  },
  {
    name: "RFC 7520 4.6, part of the header protected",
    algorithm: "HS256",
    key: hmacSecret,
    token: `eyJhbGciOiJIUzI1NiJ9.${frodo}.` +
      "bWUSVaxorn7bEF1djytBd0kHv70Ly5pvbomzMWSOr20",
    holds: "text"
  },
  {
    name: "RFC 7520 4.8, first of three signatures",
    algorithm: "RS256",
    key: bilboRsa,
    token: `eyJhbGciOiJSUzI1NiJ9.${frodo}.` +
      "MIsjqtVlOpa71KE-Mss8_Nq2YH4FGhiocsqrgi5NvyG53uoimic1tcMdSg-qptrzZc7CG6Svw2Y13TDIqHzTUrL_lR2ZFcryNFiHkSw1" +
      "29EghGpwkpxaTn_THJTCglNbADko1MZBCdwzJxwqZc-1RlpO2HibUYyXSwO97BSe0_evZKdjvvKSgsIqjytKSeAMbhMBdMma622_BG5t" +
      "4sdbuCHtFjp9iJmkio47AIwqkZV1aIZsv33uPUqBBCXbYoQJwt7mxPftHmNlGoOSMxR_3thmXTCm4US-xiNOyhbm8afKK64jU6_TPtQH" +
      "iJeQJxz9G3Tx-083B745_AfYOnlC9w",
    holds: "text"
  },
  {
    name: "RFC 7520 4.8, third of three signatures",
    algorithm: "HS256",
    key: hmacSecret,
    token: `eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.${frodo}.` +
      "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
    holds: "text"
  },
  {
    name: "RFC 8037 A.4, Ed25519",
    algorithm: "EdDSA",
    key: { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
    token: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    holds: "text"
  }
]

// Changes one bit in the middle of a part.
const flip = (token: string, part: number): string =>
  token.split(".").map((text, i) => {
    if (i !== part) return text
    const bytes = Buffer.from(text, "base64url")
    bytes[bytes.length >> 1]! ^= 1
    return bytes.toString("base64url")
  }).join(".")

describe("JwtCodec.verify, on published examples", () => {
  it.effect.each(examples)("$name", ({ algorithm, holds, key, token }) =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_300_819_379_000)
      const codec = yield* JwtCodec.JwtCodec
      const outcome = (token: string) =>
        codec.verify(Redacted.make(token), { key: Redacted.make(key), algorithms: [algorithm] }).pipe(
          Effect.match({ onFailure: ({ reason }) => reason._tag, onSuccess: ({ payload }) => payload })
        )
      if (holds === "claims") {
        assert.deepStrictEqual(yield* outcome(token), {
          iss: "joe",
          exp: 1_300_819_380,
          "http://example.com/is_root": true
        })
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcome(token), "Expired")
      } else {
        assert.strictEqual(yield* outcome(token), "Malformed")
      }
      assert.strictEqual(yield* outcome(flip(token, 1)), "BadSignature")
      assert.strictEqual(yield* outcome(flip(token, 2)), "BadSignature")
    }).pipe(Effect.provide(JwtCodec.layer)))

  it.effect("RFC 7515 A.5, unsecured", () =>
    Effect.gen(function*() {
      const codec = yield* JwtCodec.JwtCodec
      const token = Redacted.make(`eyJhbGciOiJub25lIn0.${joe}.`)
      for (const { key } of examples) {
        const error = yield* Effect.flip(
          codec.verify(token, { key: Redacted.make(key), algorithms: JwtCodec.Algorithm.literals })
        )
        assert.strictEqual(error.reason._tag, "AlgorithmRefused")
      }
    }).pipe(Effect.provide(JwtCodec.layer)))

  it.effect("RFC 7520 4.5, detached content", () =>
    Effect.gen(function*() {
      const codec = yield* JwtCodec.JwtCodec
      const { token } = examples.find(({ name }) => name.startsWith("RFC 7520 4.4"))!
      const detached = Redacted.make(token.replace(frodo, ""))
      const options = { key: Redacted.make(hmacSecret), algorithms: ["HS256"] } as const
      const error = yield* Effect.flip(codec.verify(detached, options))
      assert.strictEqual(error.reason._tag, "BadSignature")
    }).pipe(Effect.provide(JwtCodec.layer)))
})
