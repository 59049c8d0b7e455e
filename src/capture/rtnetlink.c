/* SPDX-License-Identifier: GPL-3.0-or-later
 * rtnetlink.c - what a pod's namespace needs so that a connection with a borrowed source address comes back to us
 *
 * Our socket to the application is bound to the client's real address and marked. tcp_fwmark_accept gives the
 * application's answers the same mark; one rule sends marked packets to a table whose one route says that every address
 * is local. No packet filter takes part. Installing twice is fine, so is removing what is not there. The sysctls are left
 * set at the end: nobody can tell who set it. */
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ringwall/base/check.h>
#include <ringwall/base/err.h>

#include "private.h"

enum { LOOPBACK_IFINDEX = 1, REQUEST_BYTES = 256, ANSWER_BYTES = 8192 };

struct request {
    _Alignas(NLMSG_ALIGNTO) char bytes[REQUEST_BYTES];
    uint32_t n;
};

static void request_add(struct request *q, const void *part, size_t n) {
    check(q->n + NLMSG_ALIGN(n) <= sizeof(q->bytes));
    memcpy(q->bytes + q->n, part, n);
    q->n += NLMSG_ALIGN((uint32_t)n);
}

static void request_init(struct request *q, bool add, uint16_t add_type, uint16_t remove_type) {
    struct nlmsghdr h = {.nlmsg_type = add ? add_type : remove_type,
                         .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0))};
    *q = (struct request){.n = 0};
    request_add(q, &h, sizeof(h));
}

static void request_attr(struct request *q, unsigned short type, uint32_t value) {
    struct {
        struct rtattr head;
        uint32_t value;
    } a = {{.rta_type = type, .rta_len = RTA_LENGTH(sizeof(value))}, value};
    request_add(q, &a, sizeof(a));
}

static void rule_create(struct request *q, int family, bool add) {
    struct fib_rule_hdr h = {.family = (uint8_t)family, .table = CAPTURE_ROUTE_TABLE, .action = FR_ACT_TO_TBL};
    request_init(q, add, RTM_NEWRULE, RTM_DELRULE);
    request_add(q, &h, sizeof(h));
    request_attr(q, FRA_PRIORITY, CAPTURE_RULE_PRIORITY);
    request_attr(q, FRA_FWMARK, CAPTURE_MARK);
    request_attr(q, FRA_TABLE, CAPTURE_ROUTE_TABLE);
}

static void route_create(struct request *q, int family, bool add) {
    struct rtmsg m = {.rtm_family = (uint8_t)family,
                      .rtm_table = CAPTURE_ROUTE_TABLE,
                      .rtm_protocol = RTPROT_STATIC,
                      .rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
                      .rtm_type = RTN_LOCAL};
    request_init(q, add, RTM_NEWROUTE, RTM_DELROUTE);
    request_add(q, &m, sizeof(m));
    request_attr(q, RTA_TABLE, CAPTURE_ROUTE_TABLE);
    request_attr(q, RTA_OIF, LOOPBACK_IFINDEX);
}

/* The kernel's answer to one request: 0 or its negative errno. */
static int ask(int fd, struct request *q) {
    char answer[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
    memcpy(q->bytes + offsetof(struct nlmsghdr, nlmsg_len), &q->n, sizeof(q->n));
    if (send(fd, q->bytes, q->n, 0) < 0)
        return -errno;
    ssize_t n = recv(fd, answer, sizeof(answer), 0);
    if (n < 0)
        return -errno;
    const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)answer;
    if (!NLMSG_OK(h, (size_t)n) || h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
        return -EPROTO;
    return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static int netlink_open(int *ret_fd) {
    cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct timeval wait = {.tv_sec = CAPTURE_NETLINK_WAIT_S};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
        return err_origin(-errno);
    *ret_fd = take_fd(fd);
    return 0;
}

static int family_install(int fd, int family, char why[CAPTURE_WHY_BYTES]) {
    struct request q;
    rule_create(&q, family, true);
    int r = ask(fd, &q);
    if (r < 0 && r != -EEXIST) {
        why_set(why, "cannot add the %s rule `fwmark 0x%x lookup %d` in the pod: %s", family == AF_INET ? "IPv4" : "IPv6",
                CAPTURE_MARK, CAPTURE_ROUTE_TABLE, strerror(-r));
        return err_origin(r);
    }
    route_create(&q, family, true);
    r = ask(fd, &q);
    if (r < 0 && r != -EEXIST) {
        why_set(why, "cannot add the %s route `local default dev lo table %d` in the pod: %s", family == AF_INET ? "IPv4" : "IPv6",
                CAPTURE_ROUTE_TABLE, strerror(-r));
        return err_origin(r);
    }
    return 0;
}

static int lo_up(char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq q = {.ifr_name = "lo"};
    int r = fd < 0 || ioctl(fd, SIOCGIFFLAGS, &q) < 0 ? -errno : 0;
    if (r == 0 && !(q.ifr_flags & IFF_UP)) {
        q.ifr_flags |= IFF_UP;
        r = ioctl(fd, SIOCSIFFLAGS, &q) < 0 ? -errno : 0;
    }
    if (r < 0)
        why_set(why, "cannot bring lo up in the pod: %s", strerror(-r));
    return err_origin(r);
}

/* /proc/sys/net shows the namespace of the thread that opens it. */
static int sysctl_on(const char *path, const char *name, char why[CAPTURE_WHY_BYTES]) {
    char now = '0';
    cleanup_fd int in = open(path, O_RDONLY | O_CLOEXEC);
    if (in >= 0 && read(in, &now, 1) == 1 && now == '1')
        return 0;
    cleanup_fd int out = open(path, O_WRONLY | O_CLOEXEC);
    if (out >= 0 && write(out, "1", 1) == 1)
        return 0;
    int r = -errno;
    why_set(why, "cannot set %s=1 in the pod: %s; /proc/sys must be writable (a privileged container)", name, strerror(-r));
    return err_origin(r);
}

int rtnetlink_prepare(char why[CAPTURE_WHY_BYTES]) {
    int r = lo_up(why);
    if (r == 0)
        r = sysctl_on("/proc/sys/net/ipv4/tcp_fwmark_accept", "net.ipv4.tcp_fwmark_accept", why); /* IPv6 obeys it too */
    if (r == 0)
        r = sysctl_on("/proc/sys/net/ipv4/fwmark_reflect", "net.ipv4.fwmark_reflect", why);
    if (r == 0 && access("/proc/sys/net/ipv6", F_OK) == 0)
        r = sysctl_on("/proc/sys/net/ipv6/fwmark_reflect", "net.ipv6.fwmark_reflect", why);
    return err_trace(r);
}

int rtnetlink_install(bool v6, char why[CAPTURE_WHY_BYTES]) {
    cleanup_fd int fd = -1;
    int r = netlink_open(&fd);
    if (r < 0)
        why_set(why, "cannot speak rtnetlink in the pod: %s", strerror(-r));
    if (r == 0)
        r = family_install(fd, AF_INET, why);
    if (r == 0 && v6)
        r = family_install(fd, AF_INET6, why);
    return err_trace(r);
}

static bool is_gone(int r) {
    return r == -ENOENT || r == -ESRCH || r == -ENODEV || r == -EAFNOSUPPORT || r == -EOPNOTSUPP || r == -ENETUNREACH;
}

int rtnetlink_remove(void) {
    static const int families[] = {AF_INET, AF_INET6};
    cleanup_fd int fd = -1;
    int first = netlink_open(&fd);
    for (size_t i = 0; fd >= 0 && i < array_size(families); i++) {
        struct request q;
        rule_create(&q, families[i], false);
        int r = ask(fd, &q);
        if (r < 0 && !is_gone(r) && first == 0)
            first = r;
        route_create(&q, families[i], false);
        r = ask(fd, &q);
        if (r < 0 && !is_gone(r) && first == 0)
            first = r;
    }
    return err_trace(first);
}
