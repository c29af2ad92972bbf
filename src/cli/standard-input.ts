import { VisorError } from '../model/index.ts'

/** More than anything that is sent in one request. */
const mostBytes = 48 * 1024 * 1024

/** All of the standard input, to its end. Fails with `invalid-argument` when it is too much. */
export async function readStandardInput(): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > mostBytes)
      throw new VisorError('invalid-argument', 'The standard input is longer than 48 MiB.', {
        remedy: 'Copy it in parts, with --append.',
      })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
