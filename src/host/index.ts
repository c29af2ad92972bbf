export * from './directories.ts'
export * from './process.ts'
export * from './undo.ts'
