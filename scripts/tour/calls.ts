// A program that knows nothing of authn: it finds a token in AUTHN_TOKEN, and calls an API with it.
const [base, ...routes] = process.argv.slice(2)
for (const route of routes) {
  const { ok, status } = await fetch(`${base}${route}`, {
    headers: { authorization: `Bearer ${process.env["AUTHN_TOKEN"]}` }
  })
  console.log(`GET ${route} ${status}`)
  if (!ok) process.exitCode = 1
}
