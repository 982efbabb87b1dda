/** Holds back the warning of Node that begins so, and no other: that a part is experimental is none of the users' business. */
export const withoutWarning = <A>(beginning: string, evaluate: () => A): A => {
  // oxlint-disable-next-line typescript/unbound-method -- the proxy hands `this` on
  const { emitWarning } = process
  process.emitWarning = new Proxy(emitWarning, {
    apply: (target, self, [warning, ...rest]) =>
      String(warning).startsWith(beginning) ? undefined : Reflect.apply(target, self, [warning, ...rest])
  })
  try {
    return evaluate()
  } finally {
    process.emitWarning = emitWarning
  }
}
