/** A mounted filesystem. */
export interface Mount {
  readonly root: string
  readonly point: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** Mounts of /proc/PID/mountinfo (proc(5)). */
export function parseMountinfo(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after] = line.split(' - ')
    if (after === undefined) return []
    const [, , , root = '', point = ''] = before.split(' ')
    const [type = '', source = '', options = ''] = after.split(' ')
    return [{ root: decodeOctal(root), point: decodeOctal(point), type, source, options: options.split(',') }]
  })
}

/** Space, tab, newline and backslash stand there as octal numbers. */
function decodeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/gu, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
