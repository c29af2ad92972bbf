/** The real command against a real visord over its unix socket, with guests of the test driver. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  type CommandOptions,
  type CommandResult,
  commandEnvironment,
  runProgram,
  visorCommand,
  visorProgram,
} from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

let visord: Visord
let directory = ''
let visor: (args: readonly string[], options?: CommandOptions) => Promise<CommandResult>

before(async () => {
  visord = await startVisord({ drivers: ['test'] })
  directory = await mkdtemp(join(tmpdir(), 'visor-cli-'))
  const command = visorCommand(visord.directories)
  visor = (args, options) => command(args, { cwd: directory, ...options })
})
after(async () => {
  await visord?.dispose()
  await rm(directory, { recursive: true, force: true })
})

async function succeed(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const result = await visor(args, options)
  assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
  return result
}
const json = async (...args: string[]) => JSON.parse((await succeed([...args, '--json'])).stdout)

test('a machine is made, looked at, stopped and forgotten', async () => {
  const created = await succeed(['create', 'web', '--cpus', '2', '--memory', '64MiB', '--title', 'a b'])
  assert.match(created.stderr, /web is defined.*\n.*web started/u)
  assert.match((await succeed(['list'])).stdout, /^web\s+running\s.*64 MiB\s+test.*a b$/mu)
  assert.equal((await succeed(['show', 'web', '--get', 'state'])).stdout, 'running\n')
  assert.match((await succeed(['show', 'web'])).stdout, /^web {2}● running {2}a b\n/u)
  assert.match((await succeed(['dumpxml', 'web'])).stdout, /^<domain type='test'/u)
  const [stats] = await json('stats', 'web')
  assert.equal(stats.name, 'web')
  await succeed(['suspend', 'web'])
  assert.equal((await json('list', '--state', 'paused'))[0].name, 'web')
  await succeed(['resume', 'web'])
  await succeed(['save', 'web'])
  assert.match((await succeed(['list'])).stdout, /^web\s+saved/mu)
  await succeed(['restore', 'web'])
  await succeed(['autostart', 'web'])
  assert.equal((await json('show', 'web')).autostart, true)
  assert.match((await succeed(['stop', 'web'])).stderr, /web is off/u)
  await succeed(['undefine', 'web'])
  assert.equal((await visor(['show', 'web'])).code, 3)
})

test('a disk by its size is made with the machine, and goes with it', async () => {
  await succeed(['create', 'disky', '--disk', '64MiB,format=raw', '--no-start'])
  const [volume] = await json('volume', 'list')
  assert.equal(volume.name, 'disky-0.raw')
  const definition = (await json('show', 'disky')).definition
  assert.equal(definition.devices.disks[0].file, volume.path)
  await access(volume.path)
  assert.equal((await visor(['volume', 'remove', 'disky-0.raw'])).code, 4)
  // A machine that cannot be made leaves no disk behind.
  assert.equal((await visor(['create', 'disky', '--disk', '1MiB,format=raw'])).code, 4)
  assert.equal(
    (await visor(['create', 'other', '--disk', '1MiB,format=raw', '--network', 'network='])).code,
    2,
  )
  assert.equal((await json('volume', 'list')).length, 1)
  await succeed(['undefine', '--disks', 'disky'])
  await assert.rejects(access(volume.path))
})

test('disks and network cards are listed by what other commands call them', async () => {
  const file = join(directory, 'parts.xml')
  await writeFile(
    file,
    `<domain type='test'><name>parts</name><memory>65536</memory><os><type>hvm</type></os><devices>
      <disk type='file' device='disk'><driver type='qcow2'/><source file='/a b.qcow2'/><target dev='vda' bus='virtio'/></disk>
      <disk type='volume' device='disk'><source pool='fast' volume='x'/><target dev='vdb' bus='virtio'/></disk>
      <disk type='network' device='disk'><source protocol='nbd' name='e'><host name='h' port='10809'/></source><target dev='vdc'/></disk>
      <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
      <interface type='network'><mac address='52:54:00:00:00:01'/><source network='lab'/><model type='e1000e'/><link state='down'/></interface>
      <interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/></interface>
    </devices></domain>`,
  )
  await succeed(['define', file])
  const disks = (await succeed(['domblklist', 'parts'])).stdout
  assert.match(disks, /^vda +virtio +disk +file +qcow2 +write +\/a b\.qcow2$/mu)
  assert.match(disks, /^vdb .* fast\/x$/mu)
  assert.match(disks, /^vdc .* nbd:\/\/h:10809\/e$/mu)
  assert.match(disks, /^sda +sata +cdrom +file +raw +read +-$/mu)
  assert.equal((await succeed(['domblklist', 'parts', '-q'])).stdout, 'vda\nvdb\nvdc\nsda\n')
  const cards = (await succeed(['domiflist', 'parts'])).stdout
  assert.match(cards, /^52:54:00:00:00:01 +e1000e +network +lab +- +down$/mu)
  assert.match(cards, /^52:54:00:00:00:02 .* bridge +br0 +- +up$/mu)
  await succeed(['undefine', 'parts'])
})

test('the exit code says what kind of failure it was', async () => {
  const cases: [string[], number][] = [
    [['start', 'nothing'], 3],
    [['start'], 2],
    [['lits'], 2],
    [['list', '--bogus'], 2],
    [['create', 'x', '--memory', 'much'], 2],
    [['create', 'x', '--share', '/srv:ro'], 2],
    [['attach', 'x', '--share', `/srv:${'x'.repeat(10_000)}`], 2],
    [['resume', 'test'], 4],
    [['-c', 'unix:///nowhere/visord.sock', 'list'], 7],
    [['-c', 'http://127.0.0.1:1', '--token', 'x', 'list'], 7],
    [['image', 'show', 'nothing'], 3],
    [['jobs', 'cancel', 'nothing'], 3],
  ]
  for (const [args, code] of cases) {
    const { stderr, ...result } = await visor(args)
    assert.equal(result.code, code, `visor ${args.join(' ')}: ${stderr}`)
    assert.match(stderr, /^error: .*[.?]\n/u, `visor ${args.join(' ')}`)
  }
  const both = await visor(['suspend', 'nothing', 'test', '--json'])
  assert.equal(both.code, 3)
  assert.equal(JSON.parse(both.stderr).error.code, 'not-found')
  assert.equal(JSON.parse(both.stdout)[0].state, 'paused')
  await succeed(['resume', 'test'])
})

test('apply changes what differs, once', async () => {
  await mkdir(join(directory, 'machines'))
  const file = join(directory, 'machines/two.yaml')
  await writeFile(file, 'name: one\ntype: test\nmemory: 64MiB\n---\nname: two\ntype: test\nmemory: 64MiB\n')
  const dry = await succeed(['apply', '-f', 'machines', '--dry-run'])
  assert.match(dry.stdout, /^one {2}new.*\n\+ type: test\n\+ name: one\n/u)
  assert.equal((await visor(['show', 'one'])).code, 3)
  await succeed(['apply', '-f', 'machines'])
  const again = await succeed(['apply', '-f', 'machines'])
  assert.equal(again.stdout, '2 are as their files say\n')
  assert.equal(again.stderr, '')
  await writeFile(file, (await readFile(file, 'utf8')).replace('64MiB\n---', '96MiB\n---'))
  const changed = await succeed(['apply', '-f', 'machines'])
  assert.match(changed.stdout, /^one {2}changed/u)
  assert.match(changed.stdout, /- memory: 64MiB\n\+ memory: 96MiB\n/u)
  assert.match(changed.stdout, /1 to change, 1 is as its file says\n$/u)
  assert.equal((await json('show', 'one')).definition.memoryKiB, 96 * 1024)
  const bad = await visor(['apply', '-'], { input: 'name: x\ntype: test\nmemory: [1]\n' })
  assert.equal(bad.code, 2)
  assert.match(bad.stderr, /standard input:3:/u)
})

test('what show prints can be defined again, as XML and YAML', async () => {
  for (const format of ['xml', 'yaml']) {
    const { stdout } = await succeed(['show', 'test', `--${format}`, '--inactive'])
    assert.match((await succeed(['apply', '-'], { input: stdout })).stdout, /^1 is as its file says/u)
  }
})

test('an edit that somebody else overtook is refused, and kept', async () => {
  await succeed(['define', '-'], { input: 'name: edited\ntype: test\nmemory: 64MiB\n' })
  const editor = join(directory, 'editor.mjs')
  const source = (more: string) => `import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
const file = process.argv[2]
${more}
writeFileSync(file, readFileSync(file, 'utf8').replace('64MiB', '128MiB'))
`
  const env = { EDITOR: `${process.execPath} ${editor}` }
  await writeFile(editor, source(''))
  await succeed(['edit', 'edited'], { env })
  assert.equal((await json('show', 'edited')).definition.memoryKiB, 128 * 1024)
  await succeed(['define', '-'], { input: 'name: edited\ntype: test\nmemory: 64MiB\n' })
  const meanwhile = `spawnSync(process.execPath, [${JSON.stringify(visorProgram)}, 'define', '-'], { input: 'name: edited\\ntype: test\\nmemory: 64MiB\\ntitle: mine\\n' })`
  await writeFile(editor, source(meanwhile))
  const refused = await visor(['edit', 'edited'], { env })
  assert.equal(refused.code, 4, refused.stderr)
  const kept = /What you wrote is in (\S+)\.\n/u.exec(refused.stderr)?.[1] ?? ''
  assert.match(await readFile(kept, 'utf8'), /128MiB/u)
  await rm(join(kept, '..'), { recursive: true })
  assert.equal((await json('show', 'edited')).title, 'mine')
})

test('events are one line each, and JSON lines', async () => {
  await succeed(['define', '-'], { input: 'name: eventful\ntype: test\nmemory: 64MiB\n' })
  // The first line shows that it listens.
  const stop = new AbortController()
  const nudge = (async () => {
    while (!stop.signal.aborted) {
      await visor(['start', 'eventful'])
      await visor(['destroy', 'eventful'])
    }
  })()
  const listening = await visor(['events', 'eventful', '--kind', 'domain', '--json', '--count', '2'])
  stop.abort()
  await nudge
  assert.equal(listening.code, 0)
  const events = listening.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(events.length, 2)
  for (const event of events) assert.equal(event.name, 'eventful')
})

test('stop --force takes the power away when the guest does not listen', async () => {
  await succeed(['create', 'deaf', '--memory', '64MiB'])
  await succeed(['suspend', 'deaf'])
  const refused = await visor(['stop', 'deaf', '--timeout', '0.3'])
  assert.ok([4, 8].includes(refused.code ?? 0), refused.stderr)
  await succeed(['stop', 'deaf', '--timeout', '0.3', '--force'])
  assert.equal((await json('show', 'deaf')).state, 'shutoff')
})

test('the console works with pipes', async () => {
  await succeed(['create', 'piped', '--memory', '64MiB'])
  const { stdout } = await succeed(['console', 'piped', '--no-scrollback'], { input: 'echo hello $((1))\n' })
  assert.match(stdout, /hello/u)
  assert.match((await succeed(['console', 'piped', '--log'])).stdout, /hello/u)
  // A question to the terminal is for the guest's live output: shown again, it would be answered to the shell.
  const asking = await succeed(['console', 'piped', '--no-scrollback'], { input: 'echo where \u009b6n?\n' })
  assert.ok(asking.stdout.includes('\u009b6n'))
  const again = await succeed(['console', 'piped'], { input: '' })
  for (const { stdout: shown } of [again, await succeed(['console', 'piped', '--log'])]) {
    assert.match(shown, /where \?/u)
    assert.ok(!shown.includes('\u009b6n'))
  }
  const off = await succeed(['console', 'piped', '--follow'], { input: 'poweroff\n' })
  assert.equal(off.code, 0)
  assert.equal((await visor(['console', 'piped'])).code, 4)
})

const script = spawnSync('script', ['--version']).status === 0
const noPty = script ? false : "the program 'script', which makes a terminal, is not installed"

test('on a terminal Ctrl-] leaves the console, and the terminal is as before', { skip: noPty }, async () => {
  await succeed(['create', 'typed', '--memory', '64MiB'])
  const inside = `stty -g; ${process.execPath} ${visorProgram} console typed; echo "code $?"; stty -g`
  let asked = false
  let left = false
  const { stdout } = await runProgram('script', ['-qec', inside, '/dev/null'], {
    env: { ...commandEnvironment(visord.directories), SHELL: '/bin/sh' },
    cwd: directory,
    onOutput(soFar, terminal) {
      if (!asked && soFar.includes('# ')) {
        asked = true
        // Ctrl-C is the guest's.
        terminal.write('\u0003echo marker-$((2))\r')
      }
      if (!left && /marker.*[\s\S]*# $/u.test(soFar)) {
        left = true
        terminal.write('\u001d')
      }
      if (/code \d+\r\n\S+\r\n$/u.test(soFar)) terminal.end()
    },
  })
  const modes = stdout.split('\r\n').filter((line) => /^[0-9a-f]+(:[0-9a-f]+){10,}$/u.test(line))
  assert.equal(modes.length, 2, stdout)
  assert.equal(modes[0], modes[1])
  assert.match(stdout, /left the console of typed/u)
  assert.match(stdout, /code 0\r\n/u)
  assert.equal((await json('show', 'typed')).state, 'running')
})

test('the terminal is as before however the console ends', { skip: noPty }, async () => {
  for (const how of ['poweroff', 'terminated']) {
    const name = `ends-${how}`
    await succeed(['create', name, '--memory', '64MiB'])
    const command = `exec ${process.execPath} ${visorProgram} console ${name}`
    const inside = `stty -g; sh -c 'echo pid=$$; ${command}'; echo "code $?"; stty -g`
    let asked = false
    const { stdout } = await runProgram('script', ['-qec', inside, '/dev/null'], {
      env: { ...commandEnvironment(visord.directories), SHELL: '/bin/sh' },
      onOutput(soFar, terminal) {
        if (!asked && soFar.includes('# ')) {
          asked = true
          if (how === 'poweroff') terminal.write('poweroff\r')
          else process.kill(Number(/pid=(\d+)/u.exec(soFar)?.[1]), 'SIGTERM')
        }
        if (/code \d+\r\n\S+\r\n$/u.test(soFar)) terminal.end()
      },
    })
    const modes = stdout.split('\r\n').filter((line) => /^[0-9a-f]+(:[0-9a-f]+){10,}$/u.test(line))
    assert.equal(modes.length, 2, stdout)
    assert.equal(modes[0], modes[1], how)
  }
})

test('completion knows the machines', async () => {
  const words = async (...typed: string[]) => (await succeed(['complete', '--', ...typed])).stdout
  assert.match(await words('sta'), /^start\tStart a machine\nstats\t/u)
  assert.match(await words('start', 'te'), /^test\trunning\n$/u)
  assert.match(await words('dominfo', 'te'), /^test\trunning\n$/u)
  assert.doesNotMatch(await words('start', 'test', ''), /^test\t/mu)
  assert.match(await words('create', 'x', '--accel', ''), /^auto\t\nkvm\t\ntcg\t\n$/u)
  assert.equal(await words('apply', '-f', ''), ':files\n')
  // A shell is shown no error, only nothing.
  const away = await succeed(['complete', '--', '-c', 'unix:///nowhere.sock', 'start', ''])
  assert.equal(away.stdout + away.stderr, '')
})

test('bash completes with the script it is given', async () => {
  const source = (await succeed(['completion', 'bash'])).stdout
  const shell = `visor() { "${process.execPath}" "${visorProgram}" "$@"; }
${source}
COMP_WORDS=(visor start te); COMP_CWORD=2
# A shell waits a moment only for words, which a busy host may not keep at first.
for try in 1 2 3 4 5 6 7 8; do _visor; [ \${#COMPREPLY[@]} -gt 0 ] && break; done; echo "\${COMPREPLY[@]}"
COMP_WORDS=(visor -c test : ///de); COMP_CWORD=4; _visor; echo "\${COMPREPLY[@]}"
`
  const { stdout, stderr } = await runProgram('bash', ['--norc', '-s'], {
    input: shell,
    env: commandEnvironment(visord.directories),
  })
  assert.equal(stdout, 'test\n///default\n', stderr)
})

test('a reader that goes away ends the command', async () => {
  const { code } = await runProgram(
    'bash',
    ['-c', `set -o pipefail; "${process.execPath}" "${visorProgram}" help create | head -1 >/dev/null`],
    { env: commandEnvironment(visord.directories) },
  )
  assert.ok(code === 0, String(code))
})

test('a driver is opened without a daemon', async () => {
  const result = await visorCommand(undefined)(['-c', 'test:///default', 'list', '--quiet'])
  assert.equal(result.stdout, 'test\n', result.stderr)
})
