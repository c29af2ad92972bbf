/*
 * The hook of the micro guest: takes what the host says on the virtio port (descriptor 0), does what is urgent in
 * as few steps as can be, since all of it is translated anew in each clone of an emulated guest, and hands the rest
 * to the shell (descriptor 3), with the next question, so that the answer comes when all before it is done.
 *
 * guest-hook-program.ts has it as machine code and says how that is made. It needs no library; the numbers are
 * those of Linux system calls and of ioctls of random(4): RNDADDENTROPY and RNDRESEEDCRNG.
 */
typedef struct {
  int bits, size;
  char bytes[64];
} Entropy;

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, POLL = 7, IOCTL = 16, SETHOSTNAME = 170 };
static inline long call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c)
                   : "rcx", "r11", "memory");
  return result;
}
#else
enum { READ = 3, WRITE = 4, OPEN = 5, CLOSE = 6, POLL = 168, IOCTL = 54, SETHOSTNAME = 74 };
static inline long call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
  return result;
}
#endif

static int begins(const char *line, const char *word);
static void reseed(const char *line);
static void write_machine_id(const char *text, long length);

/* Must stay the first: the program begins where its code does. */
void _start(void) {
  char bytes[1024];
  long have = 0;
  int handed = 0; /* the shell has something to do before the next answer */
  for (;;) {
    long got = call(READ, 0, (long)(bytes + have), sizeof bytes - have);
    if (got <= 0) { /* no host is there */
      have = 0;
      call(POLL, 0, 0, 1000);
      continue;
    }
    have += got;
    long start = 0;
    for (long i = have - got; i < have; i++) {
      if (bytes[i] != '\n') continue;
      char *line = bytes + start;
      long length = i + 1 - start;
      int asks = begins(line, "ping ") | begins(line, "done ");
      start = i + 1;
      if (!handed) {
        if (asks) {
          if (line[0] == 'p') line[1] = 'o';
          call(WRITE, 1, (long)line, length);
          continue;
        }
        if (begins(line, "entropy ")) {
          reseed(line + 8);
          continue;
        }
        if (begins(line, "machine-id ")) {
          write_machine_id(line + 11, length - 11);
          continue;
        }
        if (begins(line, "hostname ")) {
          call(SETHOSTNAME, (long)(line + 9), length - 10, 0);
          continue;
        }
      }
      handed = !asks;
      call(WRITE, 3, (long)line, length);
    }
    for (long i = start; i < have; i++) bytes[i - start] = bytes[i];
    have -= start;
    if (have == sizeof bytes) have = 0;
  }
}

static int begins(const char *line, const char *word) {
  while (*word)
    if (*line++ != *word++) return 0;
  return 1;
}

/* Credited at four bits for each digit. */
static void reseed(const char *line) {
  Entropy entropy;
  int size = 0;
  for (; size < 64 && line[size] != '\n'; size++) entropy.bytes[size] = line[size];
  entropy.size = size;
  entropy.bits = 4 * size;
  long file = call(OPEN, (long)"/dev/urandom", 2, 0);
  call(IOCTL, file, 0x40085203, (long)&entropy);
  call(IOCTL, file, 0x5207, 0);
  call(CLOSE, file, 0, 0);
}

static void write_machine_id(const char *text, long length) {
  long file = call(OPEN, (long)"/etc/machine-id", 01 | 0100 | 01000, 0644);
  call(WRITE, file, (long)text, length);
  call(CLOSE, file, 0, 0);
}
