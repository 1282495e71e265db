/* The yardstick of accepting: libevent's own HTTP server, which reads a body, writes nothing anywhere, and
 * answers what the relay answers. Prints its port, then serves until it is killed. */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

static void answer(struct evhttp_request *request, void *arg)
{
    static const char body[] = "{\"success\":true}";
    struct evbuffer *in = evhttp_request_get_input_buffer(request);
    (void)arg;
    evbuffer_drain(in, evbuffer_get_length(in));
    struct evbuffer *out = evbuffer_new();
    if (!out) {
        evhttp_send_error(request, 500, NULL);
        return;
    }
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    evbuffer_add_reference(out, body, sizeof body - 1, NULL, NULL);
    evhttp_send_reply(request, 200, "OK", out);
    evbuffer_free(out);
}

int main(void)
{
    struct event_base *base = event_base_new();
    struct evhttp *http = base ? evhttp_new(base) : NULL;
    struct evhttp_bound_socket *bound = http ? evhttp_bind_socket_with_handle(http, "127.0.0.1", 0) : NULL;
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (!bound || getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length)) {
        perror("bare_evhttp");
        return 1;
    }
    evhttp_set_gencb(http, answer, NULL);
    printf("%d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return event_base_dispatch(base) < 0;
}
