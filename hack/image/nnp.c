// Prints the user that it runs as: installed setuid root, it tells whether no_new_privs was set.
#include <stdio.h>
#include <unistd.h>

int main(void) {
  printf("Effective uid: %d\n", geteuid());
  return 0;
}
