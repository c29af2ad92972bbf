/** A word as the login shell of a guest reads it: itself, whatever is in it. Source: POSIX shell, 2.2.2. */
export function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** sshd hands one line to a shell. */
export const quoteLine = (words: readonly string[]): string => words.map(quoteWord).join(' ')
