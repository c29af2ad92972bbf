/** The shell of the micro guest, for tests. */
import assert from 'node:assert/strict'
import type { ByteStream } from '../../../driver/index.ts'

/** The prompt, and the question of busybox's line editor for the place of the cursor. */
export const prompt = '# \u001b[6n'

/** The shell of a micro guest, on its serial port. */
export interface Terminal {
  /** Waits for a text after the ones waited for before, and gives what came up to it. */
  until(text: string): Promise<string>
  ask(command: string): Promise<string>
  close(): Promise<void>
}

/** Answers are told apart by it, also those of before that a console shows again. */
let number = 0

export function openTerminal(stream: ByteStream): Terminal {
  let said = ''
  let wake = () => {}
  void (async () => {
    for await (const bytes of stream) {
      said += Buffer.from(bytes).toString('latin1')
      wake()
    }
  })()
  async function until(text: string): Promise<string> {
    const deadline = performance.now() + 240_000
    while (!said.includes(text)) {
      assert.ok(
        performance.now() < deadline,
        `Waited in vain for ${JSON.stringify(text)} after ${said.slice(-500)}`,
      )
      await new Promise<void>((resolve) => {
        wake = resolve
        setTimeout(resolve, 1000)
      })
    }
    const end = said.indexOf(text) + text.length
    const found = said.slice(0, end)
    said = said.slice(end)
    return found
  }
  return {
    until,
    async ask(command) {
      const mark = ++number
      await stream.write(Buffer.from(`${command}; echo =${mark}\\=\n`))
      const answer = await until(`=${mark}=`)
      // What was typed comes back first, broken where the line is full.
      const typed = [...`=${mark}\\=`].map((character) => RegExp.escape(character)).join('[\\r\\n]*')
      return answer.slice(answer.search(new RegExp(typed, 'u'))).replace(new RegExp(typed, 'u'), '')
    },
    close: () => stream.close(),
  }
}
