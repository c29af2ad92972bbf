import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { VisorError } from '../model/index.ts'
import { annotate, editUntilAccepted, stripComments } from './edit-session.ts'
import { findEditor } from './editor.ts'

let directory = ''
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-editor-'))
})
after(() => rm(directory, { recursive: true, force: true }))
afterEach(() => {
  delete process.env.VISUAL
})

/** An editor that does each step in turn: a function body in JavaScript of `text`. */
async function useEditor(...steps: string[]): Promise<string> {
  const log = join(directory, `${crypto.randomUUID()}.json`)
  const file = join(directory, `${crypto.randomUUID()}.mjs`)
  await writeFile(log, '[]')
  await writeFile(
    file,
    `import { readFileSync, writeFileSync } from 'node:fs'
const file = process.argv[2]
const seen = JSON.parse(readFileSync(${JSON.stringify(log)}, 'utf8'))
const text = readFileSync(file, 'utf8')
writeFileSync(${JSON.stringify(log)}, JSON.stringify([...seen, text]))
const steps = [${steps.map((step) => `(text) => ${step}`).join(', ')}]
const step = steps[seen.length]
if (step) writeFileSync(file, step(text))
`,
  )
  await chmod(file, 0o700)
  process.env.VISUAL = `${process.execPath} ${file}`
  return log
}
const seenBy = async (log: string): Promise<string[]> => JSON.parse(await readFile(log, 'utf8'))

const text = 'name: web\ntype: test\nmemory: 64MiB\n'
const session = (accept: (memoryKiB: number) => Promise<void>) =>
  editUntilAccepted({ text, format: 'yaml', heading: 'web', accept: ({ memoryKiB }) => accept(memoryKiB) })

test('left as it was, nothing is changed', async () => {
  await useEditor()
  assert.equal(await session(() => assert.fail()), false)
})

test('an error opens the editor again, with the error above its line', async () => {
  const log = await useEditor(
    "text.replace('64MiB', 'lots')",
    "text.replace('memory: lots', 'memory: 96MiB')",
  )
  const accepted: number[] = []
  assert.equal(await session(async (memoryKiB) => void accepted.push(memoryKiB)), true)
  assert.deepEqual(accepted, [96 * 1024])
  const [first, second] = await seenBy(log)
  assert.match(first ?? '', /^# visor: web\nname: web\n/u)
  assert.match(second ?? '', /type: test\n# visor: error: memory .*\nmemory: lots\n/u)
})

test('a refusal of the driver is placed in the text too', async () => {
  const log = await useEditor("text.replace('64', '65')", "text.replace('65', '66')")
  let calls = 0
  await session(async () => {
    if (calls++ === 0)
      throw new VisorError('unsupported-config', 'Not this type.', { path: 'type', line: 70, column: 1 })
  })
  assert.match((await seenBy(log))[1] ?? '', /name: web\n# visor: error: Not this type\.\ntype: test\n/u)
})

test('what was written is kept when somebody else was faster', async () => {
  await useEditor("text.replace('64', '65')")
  const conflict = async () => {
    throw new VisorError('conflict', 'It was changed.')
  }
  const error = await session(conflict).then(
    () => assert.fail('it was accepted'),
    (thrown) => thrown,
  )
  assert.ok(error instanceof VisorError && error.code === 'conflict')
  const file = /What you wrote is in (\S+)\.$/u.exec(error.remedy ?? '')?.[1] ?? ''
  assert.equal(await readFile(file, 'utf8'), text.replace('64', '65'))
  await rm(join(file, '..'), { recursive: true })
})

test('what visor wrote into the file is taken out again', () => {
  const error = new VisorError('invalid-definition', 'Bad --- thing.', { line: 2, remedy: 'Make it good.' })
  for (const format of ['yaml', 'xml'] as const) {
    const noted = annotate('a\nb\nc', error, format)
    assert.equal(noted.split('\n').length, 5)
    assert.equal(stripComments(noted), 'a\nb\nc')
    // Two hyphens would end an XML comment.
    if (format === 'xml') assert.doesNotMatch(noted, /[^!]--[^>]/u)
  }
})

test('the editor is what the user names', () => {
  assert.deepEqual(findEditor({ VISUAL: 'code --wait', EDITOR: 'vi' }), ['code', '--wait'])
  assert.deepEqual(findEditor({ VISUAL: ' ', EDITOR: 'vi' }), ['vi'])
  assert.throws(() => findEditor({}, false), VisorError)
  assert.throws(() => findEditor({ PATH: directory }, true), VisorError)
})
