/** Reads and writes files of a guest. */
import { VisorError } from '../../../model/index.ts'
import { isRecord } from '../qmp/index.ts'
import type { AgentSession } from './session.ts'

/** In one answer; base64 makes four bytes of three. */
const chunkBytes = 3 * 256 * 1024

/** A file, at most `maxBytes` of it from the byte `offset` on. */
export async function readGuestFile(
  agent: AgentSession,
  path: string,
  { maxBytes, offset }: { readonly maxBytes: number; readonly offset: number },
): Promise<Uint8Array> {
  return withFile(agent, path, 'r', async (handle) => {
    if (offset > 0) await agent.execute('guest-file-seek', { handle, offset, whence: 'set' })
    const chunks: Buffer[] = []
    for (let length = 0; length < maxBytes; ) {
      const count = Math.min(chunkBytes, maxBytes - length)
      const answer = await agent.execute('guest-file-read', { handle, count })
      const { 'buf-b64': data, eof } = isRecord(answer) ? answer : {}
      const chunk = Buffer.from(typeof data === 'string' ? data : '', 'base64').subarray(0, count)
      chunks.push(chunk)
      length += chunk.length
      if (eof === true || chunk.length === 0) break
    }
    return Buffer.concat(chunks)
  })
}

/** Makes or replaces a file, or writes at its end. Not at once: a reader may see a part of it. */
export async function writeGuestFile(
  agent: AgentSession,
  path: string,
  content: Uint8Array,
  append: boolean,
): Promise<void> {
  await withFile(agent, path, append ? 'a' : 'w', async (handle) => {
    for (let done = 0; done < content.length; ) {
      const chunk = content.subarray(done, done + chunkBytes)
      const data = Buffer.from(chunk).toString('base64')
      const answer = await agent.execute('guest-file-write', { handle, 'buf-b64': data })
      const written = isRecord(answer) && typeof answer.count === 'number' ? answer.count : 0
      if (written <= 0) throw new VisorError('failed', `'${path}' could not be written whole.`)
      done += written
    }
    await agent.execute('guest-file-flush', { handle })
  })
}

async function withFile<T>(
  agent: AgentSession,
  path: string,
  mode: 'r' | 'w' | 'a',
  work: (handle: unknown) => Promise<T>,
): Promise<T> {
  const handle = await agent.execute('guest-file-open', { path, mode })
  try {
    return await work(handle)
  } finally {
    await agent.execute('guest-file-close', { handle }).catch(() => {})
  }
}
