import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Filesystem, parse } from '../../../../model/index.ts'
import { readHelp, serveCommand, type Virtiofsd } from './virtiofsd.ts'

const share = (more: Partial<Parameters<typeof parse>[1]> = {}) =>
  parse(Filesystem, { driver: 'virtiofs', source: '/srv/a, b\\c', target: 't', ...more }) as Filesystem
const c: Virtiofsd = { path: '/usr/lib/qemu/virtiofsd', dialect: 'c', readonly: false }
const rust: Virtiofsd = { path: '/usr/libexec/virtiofsd', dialect: 'rust', readonly: true }

test('the program in C has its options in one list, in which commas and backslashes are escaped', () => {
  const { program, args } = serveCommand(
    share({ cache: 'always', flock: true, posixLocks: false }),
    c,
    { socket: 3 },
    true,
  )
  assert.equal(program, c.path)
  assert.deepEqual(args, [
    ...['--fd=3', '-f', '-o'],
    'source=/srv/a\\, b\\\\c/.,cache=always,no_posix_lock,flock',
  ])
})

test('read-only is a folder that was opened so, which the program is shut into', () => {
  const { args } = serveCommand(share({ readonly: true }), c, { socket: 3, folder: 4 }, true)
  assert.equal(args.at(-1), 'source=/proc/self/fd/4/.,sandbox=chroot')
})

test('who is not root is root of a user namespace of their own', () => {
  const { program, args } = serveCommand(share(), c, { socket: 3 }, false)
  assert.equal(program, 'unshare')
  assert.deepEqual(args.slice(0, 3), ['--user', '--map-root-user', c.path])
  assert.equal(args.at(-1), '--rlimit-nofile=0')
})

test('the program in Rust has words of its own', () => {
  const wanted = share({ readonly: true, cache: 'none', sandbox: 'namespace', threads: 4, openFiles: 100 })
  const { program, args } = serveCommand({ ...wanted, extendedAttributes: true }, rust, { socket: 3 }, false)
  assert.equal(program, rust.path)
  assert.deepEqual(args, [
    ...['--fd=3', '--thread-pool-size=4', '--rlimit-nofile=100', '--shared-dir=/srv/a, b\\c'],
    ...['--cache=never', '--sandbox=namespace', '--xattr', '--readonly'],
  ])
})

test('what a program can do stands in its help', () => {
  const help = '    --socket-path=PATH   path\n    --fd=FDNUM           fd number'
  assert.deepEqual(readHelp('/c', help), { path: '/c', dialect: 'c', readonly: false })
  const newer = '--shared-dir <SHARED_DIR>\n --socket-path <SOCKET_PATH>\n --fd <FD>\n --readonly'
  assert.deepEqual(readHelp('/r', newer), { path: '/r', dialect: 'rust', readonly: true })
  assert.equal(readHelp('/bin/ls', 'Usage: ls --all'), undefined)
})
