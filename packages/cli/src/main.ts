// The authn command.
export {}
