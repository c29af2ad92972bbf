/** The commands that change machines while they run, with a guest of QEMU that needs no kernel. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { hasDes, logIn } from '../../src/drivers/qemu/testing/test-rfb.ts'
import { type CommandResult, visorCommand } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const skip = spawnSync('qemu-system-x86_64', ['--version']).error && 'qemu-system-x86_64 is not installed'

describe('visor changes a machine that runs', { skip }, () => {
  let visord: Visord
  let directory = ''
  let command: ReturnType<typeof visorCommand>
  let visor: (...args: string[]) => Promise<CommandResult>

  before(async () => {
    visord = await startVisord({ drivers: ['qemu'] })
    directory = await mkdtemp(join(tmpdir(), 'visor-cli-live-'))
    command = visorCommand(visord.directories)
    visor = (...args) => command(args, { cwd: directory })
    for (const file of ['more.raw', 'one.iso']) await writeFile(join(directory, file), Buffer.alloc(2 ** 20))
    await writeFile(join(directory, 'first.vnc'), 'geheim42\n')
    await writeFile(join(directory, 'second.vnc'), 'anders')
    await writeFile(
      join(directory, 'web.yaml'),
      `type: qemu
name: web
memoryKiB: 65536
vcpus: 2
currentVcpus: 1
features: { acpi: true, apic: true }
devices:
  disks: [{ target: sda, device: cdrom, bus: sata }]
  interfaces: [{ type: user, mac: '52:54:00:aa:bb:cc' }]
  graphics: [{ type: vnc, passwordFile: '${join(directory, 'first.vnc')}' }]
`,
    )
    await succeed('define', 'web.yaml', '--start')
  })
  after(async () => {
    await visor('destroy', 'web')
    await visord?.dispose()
    await rm(directory, { recursive: true, force: true })
  })

  async function succeed(...args: string[]): Promise<CommandResult> {
    const result = await visor(...args)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  const xml = async (...flags: string[]) => (await succeed('show', 'web', '--xml', ...flags)).stdout

  test('limits of threads and of disks of the host', async () => {
    await succeed('schedinfo', 'web', '--vcpu-quota', '50000', '--emulator-quota', '-1', '--config')
    const limits = '/dev/vda,1048576,/dev/vdb,0'
    await succeed('limits', 'web', '--device-write-bytes-sec', limits, '--config')
    const shown = await xml('--inactive')
    assert.match(shown, /<quota>50000<.*<emulator_quota>-1</su)
    assert.match(shown, /<device>\s*<path>\/dev\/vda<.*<write_bytes_sec>1048576<(?!.*vdb)/su)
    assert.match(
      (await succeed('iothread', 'web', '2', '--poll-max-ns', '0')).stderr,
      /web has I\/O thread 2\n/u,
    )
    assert.match((await succeed('pin', 'web', 'iothread2', '0')).stderr, /web runs iothread2 on 0\n/u)
    assert.match(await xml(), /<iothread id='2'>\s*<poll max='0'.*<iothreadpin iothread='2' cpuset='0'/su)
    await succeed('iothreaddel', 'web', '2')
    assert.equal((await visor('pin', 'web', 'cpu0', '0')).code, 2)
    const wrong = await visor('limits', 'web', '--device-read-iops-sec', '/dev/vda', '--config')
    assert.deepEqual([wrong.code, /limit of '\/dev\/vda' ''/u.test(wrong.stderr)], [2, true])
  })

  test('processors and memory, now, at the next start, or both', async () => {
    assert.match((await succeed('setvcpus', 'web', '2')).stderr, /web has 2 processors\n/u)
    assert.match((await succeed('setmem', 'web', '40000', '--config')).stderr, /from the next start on/u)
    await succeed('setmem', 'web', '48MiB', '--live')
    assert.match(await xml(), /<currentMemory unit='KiB'>49152<.*<vcpu placement='static'>2</su)
    assert.equal((await visor('setvcpus', 'web', '3')).code, 2)
    assert.equal((await visor('setvcpus', 'web', '2', '--live', '--current')).code, 2)
    assert.equal((await visor('setmaxmem', 'web', '1GiB')).code, 4)
  })

  test('disks, cards and media', async () => {
    await succeed('attach-disk', 'web', 'more.raw', 'vdb', '--persistent')
    assert.match(await xml(), /more\.raw/u)
    assert.match((await visor('attach-disk', 'web', 'more.raw', 'vdb')).stderr, /'vdb'/u)
    assert.equal((await visor('attach-disk', 'web', 'none.raw', 'vdc')).code, 3)
    await succeed('blkdeviotune', 'web', 'vdb', '--total-bytes-sec', '1MiB', '--live', '--config')
    await succeed('blkdeviotune', 'web', 'vdb', '--read-bytes-sec', '2MiB', '--live')
    assert.match(
      (await succeed('blkdeviotune', 'web', 'vdb')).stdout,
      /^total_bytes_sec +: 0\nread_bytes_sec +: 2097152$/mu,
    )
    assert.match(await xml('--inactive'), /<total_bytes_sec>1048576</u)
    await succeed('blkdeviotune', 'web', 'vdb', '--read-bytes-sec', '0', '--live')
    assert.doesNotMatch(await xml(), /<iotune>/u)
    await succeed('detach', 'web', 'vdb', '--config')
    await succeed('change-media', 'web', 'sda', 'one.iso')
    assert.match(await xml(), /one\.iso/u)
    assert.equal((await visor('change-media', 'web', 'sda', 'one.iso', '--insert')).code, 4)
    await succeed('eject', 'web', 'sda')
    assert.doesNotMatch(await xml(), /one\.iso/u)
    await succeed('domif-setlink', 'web', '52:54:00:aa:bb:cc', 'down')
    assert.match(await xml(), /<link state='down'\/>/u)
    assert.match((await visor('detach', 'web', 'vdz')).stderr, /no device 'vdz'.*It has/su)
  })

  test('the password of a screen, seen by who logs in', {
    skip: hasDes ? false : 'OpenSSL here has no DES',
  }, async () => {
    const socket = /vnc\+unix:\/\/(.*)/u.exec((await succeed('domdisplay', 'web')).stdout)?.[1] ?? ''
    const opens = async (...words: string[]) => {
      const answers: boolean[] = []
      for (const word of words) answers.push(await logIn(socket, word))
      return answers
    }
    assert.deepEqual(await opens('geheim42', 'geheim43'), [true, false])
    await succeed('screen-password', 'web', 'second.vnc')
    assert.deepEqual(await opens('geheim42', 'anders'), [false, true])
    assert.match(await xml('--inactive'), /first\.vnc/u, 'the next start has what it had')
    await writeFile(join(directory, 'second.vnc'), 'nochmals')
    const { stderr } = await succeed('screen-password', 'web', '--valid-for', '1h')
    assert.match(stderr, /VNC screen changed, good until \d{4}-\d\d-\d\dT/u)
    assert.deepEqual(await opens('anders', 'nochmals'), [false, true])
    await succeed('screen-password', 'web', '--valid-to', '2020-01-01T00:00:00Z')
    assert.deepEqual(await opens('nochmals'), [false], 'it has ended')
    await succeed('screen-password', 'web', '--forever', '--type', 'vnc')
    assert.deepEqual(await opens('nochmals'), [true])
    await succeed('screen-password', 'web', 'second.vnc', '--live', '--config')
    assert.match(await xml('--inactive'), /second\.vnc/u)
    for (const [args, code, message] of [
      [['--type', 'spice'], 3, /no spice screen/u],
      [['nowhere'], 2, /nowhere.*cannot be read/u],
      [['--valid-to', 'soon'], 2, /no time 'soon'/u],
      [['--valid-for', '1h', '--forever'], 2, /cannot be used with/u],
    ] as const) {
      const refused = await visor('screen-password', 'web', ...args)
      assert.deepEqual([refused.code, message.test(refused.stderr)], [code, true], refused.stderr)
    }
    assert.deepEqual(await opens('nochmals'), [true])
  })

  test('a device is changed as a file says', async () => {
    const write = (name: string, text: string) => writeFile(join(directory, name), text)
    const disk = (more: string) =>
      `<disk type='file' device='cdrom'>${more}<target dev='sda' bus='sata'/></disk>`
    await write('medium.xml', disk(`<source file='${join(directory, 'one.iso')}'/>`))
    await succeed('update-device', 'web', 'medium.xml', '--live', '--config')
    assert.match(await xml(), /one\.iso/u)
    assert.match(await xml('--inactive'), /one\.iso/u)
    await write('none.xml', disk(''))
    await succeed('update-device', 'web', 'none.xml', '--live', '--config')
    assert.doesNotMatch(await xml(), /one\.iso/u)
    await write('up.yaml', "interfaces: [{ type: user, mac: '52:54:00:aa:bb:cc', link: up }]\n")
    await succeed('update-device', 'web', 'up.yaml')
    assert.match(await xml(), /<link state='up'\/>/u)
    await write('other.yaml', "interfaces: [{ type: user, mac: '52:54:00:aa:bb:cc', model: e1000e }]\n")
    const refused = await visor('update-device', 'web', 'other.yaml')
    assert.deepEqual([refused.code, /'model' of '.*' stays/u.test(refused.stderr)], [5, true], refused.stderr)
  })

  test('filters are made, shown, changed in an editor and removed', async () => {
    const filter = "<filter name='no-mail' chain='root'><rule action='drop' direction='out'>"
    await writeFile(join(directory, 'mail.xml'), `${filter}<tcp dstportstart='25'/></rule></filter>`)
    assert.match((await succeed('nwfilter', 'define', 'mail.xml')).stderr, /filter no-mail is defined\n/u)
    assert.match(
      (await succeed('nwfilter')).stdout,
      /^clean-traffic .*\bvisor\b.*\n(?:.*\n)*no-mail +root +you /mu,
    )
    assert.match((await succeed('nwfilter', 'show', 'no-mail')).stdout, /rules +1\n/u)
    assert.match((await succeed('nwfilter-dumpxml', 'no-mail')).stdout, /dstportstart='25'/u)
    const editor = join(directory, 'editor.mjs')
    await writeFile(
      editor,
      `import { readFileSync, writeFileSync } from 'node:fs'
       const file = process.argv.at(-1)
       writeFileSync(file, readFileSync(file, 'utf8').replace("'25'", "'2525'"))`,
    )
    const edited = await command(['nwfilter', 'edit', 'no-mail'], {
      env: { EDITOR: `${process.execPath} ${editor}` },
    })
    assert.match(edited.stderr, /filter no-mail is changed/u)
    assert.match((await succeed('nwfilter', 'show', 'no-mail', '--yaml')).stdout, /2525/u)
    await writeFile(join(directory, 'mail.xml'), `${filter.replace('drop', 'lose')}<tcp/></rule></filter>`)
    const wrong = await visor('nwfilter', 'define', 'mail.xml')
    assert.deepEqual([wrong.code, /mail\.xml:1:\d+: /u.test(wrong.stderr)], [2, true], wrong.stderr)
    await succeed('nwfilter-undefine', 'no-mail')
    assert.match((await visor('nwfilter', 'show', 'no-mail')).stderr, /no nwfilter 'no-mail'/u)
  })

  test('a mistake in the file of a device is told with its place', async () => {
    await writeFile(join(directory, 'bad.xml'), "<disk type='file'>\n  <target dev='..'/>\n</disk>\n")
    const { code, stderr } = await visor('attach-device', 'web', 'bad.xml')
    assert.equal(code, 2)
    assert.match(stderr, /bad\.xml:2:11:/u)
  })

  test('a machine that is off is copied; one that runs, or a copy without a name, is refused', async () => {
    const file = join(directory, 'src.raw')
    await writeFile(file, Buffer.alloc(2 ** 20, 'x'))
    const disks = `disks: [{ target: vda, file: '${file}', format: raw }]`
    const written = `type: qemu\nname: src\nmemoryKiB: 65536\ndevices:\n  ${disks}\n`
    await writeFile(join(directory, 'src.yaml'), written)
    await succeed('define', 'src.yaml')
    assert.match((await succeed('clone', 'src', 'dst')).stderr, /dst is a copy of src/u)
    const made = JSON.parse((await succeed('show', 'dst', '--json')).stdout)
    assert.equal(made.state, 'shutoff')
    assert.equal(made.definition.devices.disks[0].file, join(directory, 'dst.raw'))
    assert.ok((await readFile(join(directory, 'dst.raw'))).equals(await readFile(file)))
    const linked = await succeed('clone', 'src', '--name', 'thin', '--linked')
    assert.match(linked.stderr, /thin is a linked copy of src.*\n.*src cannot be started/u)
    const start = await visor('start', 'src')
    assert.deepEqual([start.code, /visor block pull thin/u.test(start.stderr)], [4, true], start.stderr)
    await succeed('undefine', 'thin', 'dst', 'src')
    for (const [args, code, message] of [
      [['clone', 'web', 'web2'], 4, /visor stop web/u],
      [['clone', 'web'], 2, /needs a name/u],
      [['clone', 'web', 'web2', '--paused'], 2, /--paused is for running copies/u],
      [['clone', 'nothing', 'web2'], 3, /nothing/u],
    ] as const) {
      const refused = await visor(...args)
      assert.deepEqual([refused.code, message.test(refused.stderr)], [code, true], refused.stderr)
    }
  })

  test('templates, their pools, and running copies of them', async () => {
    const made = await succeed('template', 'create', 'web', 'gold', '--pool', '1')
    assert.match(
      made.stderr,
      /template gold is made of web.*\n.*nobody answers.*\n.*visor clone --live gold/u,
    )
    const one = await succeed('clone', '--live', 'gold')
    assert.match(one.stderr, /gold-1 is running \(/u)
    const more = await succeed('clone', '--live', 'gold', '5', '--name', 'node', '--pool', '0', '--paused')
    assert.match(more.stderr, /node-1 to node-5 are made, and paused/u)
    assert.match((await succeed('list')).stdout, /gold-1 +running(.*\n)+node-5 +paused/u)
    assert.match(
      (await succeed('template')).stdout,
      /NAME +MADE OF +MEMORY +ON HOST +CLONES +POOL +PINNED .*\ngold +web +64 MiB .* 6 +- +- /u,
    )
    await succeed('template', 'pool', 'gold', '2')
    await succeed('template', 'pin', 'gold')
    const shown = (await succeed('template', 'show', 'gold')).stdout
    assert.match(shown, /pinned +yes\n.*pool +\d of 2 ready\n.*clones +gold-1, node-1, node-2.*node-5\n/su)
    const { clones, identity } = JSON.parse((await succeed('template', 'show', 'gold', '--json')).stdout)
    assert.deepEqual([clones.length, identity], [6, 'none'])
    assert.equal((await succeed('template', 'list', '-q')).stdout, 'gold\n')
    for (const [args, code, message] of [
      [['template', 'remove', 'gold'], 4, /is pinned.*visor template unpin gold/su],
      [['template', 'show', 'silver'], 3, /no template 'silver'.*visor template list/su],
      [['template', 'create', 'web', 'gold'], 4, /already a template 'gold'/u],
      [['template', 'create', 'nothing'], 3, /no domain 'nothing'/u],
      [['template', 'create', 'web', 'a/b'], 2, /'a\/b' is no name/u],
      [['template', 'pool', 'gold', 'many'], 2, /'many'/u],
      [['clone', '--live', 'silver'], 3, /no template 'silver'/u],
      [['clone', '--live', 'gold', 'two'], 2, /'two' is not a whole number/u],
      [['clone', '--live', 'gold', '--linked'], 2, /--linked/u],
      [['clone', '--live', 'gold', '--name', 'web'], 4, /already a domain 'web'/u],
    ] as const) {
      const refused = await visor(...args)
      assert.deepEqual([refused.code, message.test(refused.stderr)], [code, true], refused.stderr)
    }
    await succeed('template', 'unpin', 'gold')
    const inUse = await visor('template', 'rm', 'gold')
    assert.equal(inUse.code, 4)
    assert.match(inUse.stderr, /has 6 clones: 'gold-1', 'node-1', .*'node-4' \.\.\.\..*visor undefine/su)
    const names = ['gold-1', ...[1, 2, 3, 4, 5].map((number) => `node-${number}`)]
    await succeed('destroy', ...names)
    await succeed('undefine', ...names)
    // Copies that wait do not keep it.
    assert.match((await succeed('template', 'rm', 'gold')).stderr, /template gold is removed/u)
    assert.match((await succeed('template')).stderr, /No templates/u)
  })

  test('snapshots and checkpoints as virsh has them, in and out as XML', async () => {
    spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(directory, 'still.qcow2'), '1M'])
    await writeFile(
      join(directory, 'still.yaml'),
      `{ type: qemu, name: still, memoryKiB: 65536, devices: { disks: [{ target: vda, format: qcow2, file: '${join(directory, 'still.qcow2')}' }] } }`,
    )
    await succeed('define', 'still.yaml')
    const asked = await succeed(
      ...['snapshot-create-as', 'still', 'first', 'the beginning', '--print-xml'],
      ...['--diskspec', `vda,snapshot=external,file=${join(directory, 'still.first')}`],
    )
    assert.match(asked.stdout, /<name>first<\/name>\n {2}<description>the beginning</u)
    await writeFile(join(directory, 'first.xml'), asked.stdout)
    await succeed('snapshot-create', 'still', 'first.xml', '--disk-only', '--atomic')
    const printed = (await succeed('snapshot-dumpxml', 'still', 'first')).stdout
    assert.match(printed, /<state>shutoff<.*<source file='[^']*still\.first'\/>.*<domain type='qemu'>/su)
    await writeFile(
      join(directory, 'bad.xml'),
      '<domainsnapshot>\n  <state>asleep</state>\n</domainsnapshot>\n',
    )
    const bad = await visor('snapshot-create', 'still', 'bad.xml')
    assert.deepEqual([bad.code, /bad\.xml:2:/u.test(bad.stderr)], [2, true], bad.stderr)
    await writeFile(join(directory, 'point.xml'), '<domaincheckpoint><name>p</name></domaincheckpoint>')
    await succeed('checkpoint-create', 'still', 'point.xml')
    assert.match(
      (await succeed('checkpoint-dumpxml', 'still', 'p')).stdout,
      /<disk name='vda' checkpoint='bitmap'/u,
    )
    await writeFile(join(directory, 'backup.xml'), '<domainbackup/>')
    // A machine that is off has nothing to be read while it is written.
    assert.equal((await visor('backup-begin', 'still', 'backup.xml')).code, 4)
    await succeed('checkpoint-delete', 'still', 'p')
    await succeed('snapshot-delete', 'still', 'first')
    await succeed('undefine', 'still')
  })
})
