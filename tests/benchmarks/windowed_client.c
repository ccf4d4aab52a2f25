/* Keep IN_FLIGHT messages in flight on a connected socket. Each message is sent alone, as soon as an earlier one is
 * answered:
 *   windowed-client SOCKET IN_FLIGHT < WORK
 * WORK has one record for each message: the number of bytes to send and the number of bytes in the answer, as 32-bit
 * little-endian integers, then the bytes to send. The program prints the nanoseconds from the first send to the last
 * byte of the last answer. It is in C, because the slowness of a client in Python would be measured instead. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static char *read_all(size_t *size)
{
    size_t room = 1 << 20, got;
    char *data = malloc(room);
    *size = 0;
    while (data != NULL && (got = fread(data + *size, 1, room - *size, stdin)) > 0) {
        *size += got;
        if (*size == room)
            data = realloc(data, room *= 2);
    }
    if (data == NULL) {
        perror("windowed-client");
        exit(1);
    }
    return data;
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: windowed-client SOCKET IN_FLIGHT < WORK\n");
        return 2;
    }
    int sock = atoi(arguments[1]), in_flight = atoi(arguments[2]);
    size_t size, sending = 0, answering = 0;
    char *work = read_all(&size);
    static char answers[1 << 16];
    uint64_t received = 0, answered_until = 0, begun_ns = now_ns();
    int open = 0;

    while (answering < size) {
        for (; sending < size && open < in_flight; open++) {
            uint32_t bytes;
            memcpy(&bytes, work + sending, sizeof bytes);
            if (send(sock, work + sending + 8, bytes, 0) != (ssize_t)bytes)
                return perror("windowed-client: send"), 1;
            sending += 8 + bytes;
        }
        while (answering < sending) {
            uint32_t bytes, answer;
            memcpy(&bytes, work + answering, sizeof bytes);
            memcpy(&answer, work + answering + 4, sizeof answer);
            if (answered_until + answer > received)
                break;
            answered_until += answer;
            answering += 8 + bytes;
            open--;
        }
        if (answering == size || (open < in_flight && sending < size))
            continue;
        ssize_t got = recv(sock, answers, sizeof answers, 0);
        if (got <= 0)
            return perror("windowed-client: recv"), 1;
        received += (uint64_t)got;
    }
    printf("%llu\n", (unsigned long long)(now_ns() - begun_ns));
    return 0;
}
