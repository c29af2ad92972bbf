import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { VisorError } from '../model/index.ts'
import { Config, parseConfig } from './config.ts'
import { parseFlags } from './flags.ts'
import { findSettings } from './settings.ts'

const fails = (work: () => unknown, message: RegExp) =>
  assert.throws(work, (error) => {
    assert.ok(error instanceof VisorError)
    assert.equal(error.code, 'invalid-argument')
    assert.match(error.message, message)
    return true
  })

describe('configuration', () => {
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-config-'))
  })
  after(() => rm(directory, { recursive: true }))

  it('is all defaults when it says nothing', () => {
    for (const text of ['', '# only a remark\n', '\n\n', '{}'])
      assert.deepEqual(parseConfig(text, 'visord.yaml').drivers, ['qemu', 'v86'])
  })

  it('tells the file, the line and what is wrong', () => {
    fails(
      () => parseConfig('# port\nlisten: everywhere\n', '/etc/x.yaml'),
      /^\/etc\/x\.yaml: .*listen.*line 2/s,
    )
    fails(() => parseConfig('listne: none\n', 'x.yaml'), /listne.*; did you mean 'listen'/)
    fails(() => parseConfig('drivers: [qemu, vbox]\n', 'x.yaml'), /drivers\[1\]/)
    fails(() => parseConfig('logLevel: [\n', 'x.yaml'), /^x\.yaml:/)
    fails(() => parseConfig('- a\n- b\n', 'x.yaml'), /object/)
    fails(() => parseConfig('connectionLimit: 0', 'x.yaml'), /at least 1/)
  })

  it('has a sample that is the defaults, and knows every setting', async () => {
    const sample = await readFile(join(import.meta.dirname, '../../packaging/visord.yaml'), 'utf8')
    assert.deepEqual(parseConfig(sample, 'visord.yaml'), parseConfig('', 'visord.yaml'))
    for (const name of Object.keys(Config.fields)) assert.match(sample, new RegExp(`^#?${name}:`, 'mu'))
  })

  it('must be there when it is named', () => {
    fails(() => findSettings(parseFlags(['--config', join(directory, 'none.yaml')]), {}), /cannot be read/)
    assert.ok(
      findSettings(parseFlags([]), { HOME: directory, XDG_CONFIG_HOME: directory, VISOR_STATE_DIR: '/x' }),
    )
  })

  it('says where names of guests are answered', async () => {
    const file = join(directory, 'names.yaml')
    const namesOf = async (text: string) => {
      await writeFile(file, text)
      return findSettings(parseFlags([]), { VISOR_CONFIG: file }).names
    }
    assert.deepEqual(await namesOf('{}'), { address: '127.0.0.83', port: 53 })
    assert.deepEqual(await namesOf('names: 127.0.0.1:5353'), { address: '127.0.0.1', port: 5353 })
    assert.deepEqual(await namesOf("names: '[::1]'"), { address: '::1', port: 53 })
    assert.equal(await namesOf('names: none'), undefined)
    for (const wrong of ['localhost:53', '127.0.0.300', '127.0.0.1:70000', "'[::g]:53'"])
      await assert.rejects(namesOf(`names: ${wrong}`), { code: 'invalid-argument' }, wrong)
  })

  it('yields to flags, which yield places over the environment', async () => {
    const file = join(directory, 'visord.yaml')
    await writeFile(file, 'listen: 127.0.0.1:1\nlogLevel: warn\ndrivers: [qemu]\n')
    const env = { VISOR_CONFIG: file, VISOR_STATE_DIR: '/env/state', VISOR_RUNTIME_DIR: '/env/run' }
    const plain = findSettings(parseFlags([]), env)
    assert.deepEqual(plain.tcp, { host: '127.0.0.1', port: 1, asked: true })
    assert.equal(plain.directories.state, '/env/state')
    const flags = [
      '--listen=[::1]:0',
      '--drivers',
      'test,v86',
      '--log-level',
      'debug',
      '--state-dir',
      '/flag',
    ]
    const other = findSettings(parseFlags(flags), env)
    assert.deepEqual(other.tcp, { host: '::1', port: 0, asked: true })
    assert.deepEqual(other.config.drivers, ['test', 'v86'])
    assert.equal(other.config.logLevel, 'debug')
    assert.deepEqual([other.directories.state, other.directories.runtime], ['/flag', '/env/run'])
    assert.equal(findSettings(parseFlags(['--no-tcp']), env).tcp, undefined)
  })

  it('listens beyond the loopback only when it is safe or said to be', async () => {
    const settings = async (text: string, ...flags: string[]) => {
      const file = join(directory, 'open.yaml')
      await writeFile(file, text)
      return findSettings(parseFlags(['--config', file, ...flags]), {})
    }
    for (const listen of [
      '0.0.0.0:80',
      '[::]:80',
      'example.org:80',
      '192.168.1.1:80',
      '127.0.0.1.example.org:80',
    ])
      await assert.rejects(settings('{}', '--listen', listen), /can be reached from elsewhere/)
    assert.equal((await settings('allowUnencrypted: true', '--listen', '0.0.0.0:80')).tcp?.port, 80)
    assert.ok(await settings('tls: { certificate: /c.pem, key: /k.pem }', '--listen', '0.0.0.0:80'))
    for (const listen of ['127.0.0.1:0', '127.1.2.3:0', 'localhost:0', '[::1]:0'])
      assert.ok(await settings('{}', '--listen', listen))
    await assert.rejects(settings('{}', '--listen', '127.0.0.1:70000'), /no port 70000/)
  })

  it('refuses flags it does not know', () => {
    fails(() => parseFlags(['--lisen', 'x']), /--lisen/)
    fails(() => parseFlags(['--no-tcp', '--listen', '127.0.0.1:1']), /exclude/)
    fails(() => parseFlags(['extra']), /extra/)
    fails(() => findSettings(parseFlags(['--log-level', 'loud']), {}), /logLevel/)
  })
})
