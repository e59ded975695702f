"""The floor: a bare ASGI application that reads the request and answers with what it was sent.

`python serve_echo.py PORT`.
"""

import sys

import uvicorn


async def echo(scope, receive, send):
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message.get("more_body", False)
    body = b"".join(parts)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        echo,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
