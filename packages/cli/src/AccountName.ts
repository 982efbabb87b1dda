/**
 * What an account can be called. The short ways ask it, too, so that nothing is loaded here.
 */

/** Whether an account can have that name: it names a file, and stands in a command line. */
export const isName = (name: string): boolean => /^[\w@+][\w.@+-]{0,63}$/.test(name) && name !== "current"
