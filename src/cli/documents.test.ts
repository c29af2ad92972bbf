import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { VisorError } from '../model/index.ts'
import { loadDocuments, withDocument } from './documents.ts'

let directory = ''
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-documents-'))
  await mkdir(join(directory, 'm'))
  const files = {
    'm/two.yaml': 'name: b\ntype: test\nmemory: 64MiB\n---\nname: c\ntype: test\nmemory: 64MiB\n',
    'm/one.xml': "<domain type='test'><name>a</name><memory unit='MiB'>64</memory></domain>",
    'm/notes.txt': 'nothing',
    'm/.hidden.yaml': 'name: x',
    json: '{"name": "d", "type": "test", "memory": "64MiB"}',
    'bad.yaml': 'name: a\ntype: test\nmemory: 64MiB\n---\nname: b\ntype: tset\nmemory: -1\n',
    'twice.yaml': 'name: b\ntype: test\nmemory: 64MiB\n',
    'empty.yaml': '# nothing\n',
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text)
})
after(() => rm(directory, { recursive: true, force: true }))

const load = (...names: string[]) => loadDocuments(names.map((name) => join(directory, name)))
const names = async (...files: string[]) => (await load(...files)).map(({ definition }) => definition.name)

test('a directory stands for its definitions, a YAML file for its documents', async () => {
  assert.deepEqual(await names('m'), ['a', 'b', 'c'])
  assert.deepEqual(await names('json', 'm/one.xml'), ['d', 'a'])
})

test('errors name file, line and column, each of them', async () => {
  await assert.rejects(load('bad.yaml'), (error) => {
    assert.ok(error instanceof VisorError)
    const lines = error.message.split('\n').map((line) => line.slice(directory.length + 1))
    assert.match(lines[0] ?? '', /^bad\.yaml:6:\d+: type must be /u)
    assert.match(lines[1] ?? '', /^bad\.yaml:7:\d+: memory must be /u)
    return true
  })
})

test('an error about a part that comes later is placed in the file', async () => {
  const [document] = await load('twice.yaml')
  assert.ok(document)
  const refuse = async () => {
    throw new VisorError('unsupported-config', 'No such type.', { path: 'type', line: 99, column: 9 })
  }
  await assert.rejects(withDocument(document, refuse), {
    message: `${join(directory, 'twice.yaml')}:2:1: No such type.`,
  })
})

test('what cannot be loaded is refused', async () => {
  const invalid = (error: unknown) => error instanceof VisorError && error.message.length > 0
  for (const list of [['nothing.yaml'], ['empty.yaml'], ['m', 'twice.yaml'], ['m/one.xml', 'm/one.xml']])
    await assert.rejects(load(...list), invalid, list.join(' '))
})
