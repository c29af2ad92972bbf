import type { PackageFamily } from '../host/index.ts'

/** Package names by family; `debian` stands in where a family has no entry of its own. */
export type Packages = { readonly debian: string } & Partial<Readonly<Record<PackageFamily, string>>>

const commands: Readonly<Record<PackageFamily, string>> = {
  debian: 'apt-get install',
  fedora: 'dnf install',
  suse: 'zypper install',
  arch: 'pacman -S',
  alpine: 'apk add',
  other: '',
}

/** The sentence that says how to install a package on a system of this family. */
export function installRemedy(family: PackageFamily, packages: Packages): string {
  const name = packages[family]
  if (name === undefined || commands[family] === '')
    return `Install the package that Debian calls '${packages.debian}'.`
  return `Run: ${commands[family]} ${name}`
}
