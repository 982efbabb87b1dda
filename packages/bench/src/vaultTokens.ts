// The tokens of an IAM that is measured: a family is a number, and its tokens are numbered from 0.

export const refreshToken = (family: number, index: number): string => `rt-${family}.${index}`

// As long as a JWT of a real IAM.
export const accessToken = (family: number, index: number): string => `at-${family}.${index}.`.padEnd(860, "x")
