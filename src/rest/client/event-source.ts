import type { Event } from '../../model/index.ts'

/** One message of a stream of server-sent events. */
export interface Message {
  readonly id?: string
  readonly data: string
}

/** A line or message longer than this is not one of ours. */
const messageLimit = 16 << 20

/** Reads messages (WHATWG HTML, 9.2.6) until the stream ends. Comments are given as messages without data. */
export async function* readMessages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) return
      text += decoder.decode(value, { stream: true })
      const blocks = text.split(/\r\n\r\n|\n\n|\r\r/u)
      text = blocks.pop() ?? ''
      if (text.length > messageLimit) throw new RangeError('a message of the event stream is too long')
      for (const block of blocks) yield parseMessage(block)
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

function parseMessage(block: string): Message {
  let id: string | undefined
  const data: string[] = []
  for (const line of block.split(/\r\n|\n|\r/u)) {
    const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/su.exec(line) ?? []
    if (name === 'id') id = value
    if (name === 'data') data.push(value)
  }
  return { ...(id !== undefined && { id }), data: data.join('\n') }
}

/** The event of a message; undefined for a comment and for what is no event. */
export function parseEvent({ data }: Message): Event | undefined {
  if (data === '') return undefined
  try {
    const event: unknown = JSON.parse(data)
    return typeof event === 'object' && event !== null && 'kind' in event ? (event as Event) : undefined
  } catch {
    return undefined
  }
}
